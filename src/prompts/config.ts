import { z } from 'zod';

/** `prompt:` of a model: every request of it is rendered into this prompt. */
export const promptReferenceSchema = z
  .union([
    z.string().min(1),
    z.strictObject({
      id: z.string().min(1).describe('The prompt, by its path under the library without version: `chat/support`.'),
      version: z
        .union([z.string(), z.number()])
        .transform(String)
        .optional()
        .describe('By weight or the newest if absent.'),
      variables: z.record(z.string(), z.json()).default({}).describe('Values of its variables.'),
    }),
  ])
  .transform((value) => (typeof value === 'string' ? { id: value, variables: {} } : value))
  .describe('A prompt of the library that every request of this model is rendered into.');

/** `prompts:`: where the library is. */
export const promptsSchema = z
  .strictObject({
    directory: z.string().min(1).default('prompts').describe('A folder of prompt files; it may be missing.'),
  })
  .prefault({})
  .describe('The prompt library.');
