import * as z from 'zod';
import { once } from '../core/once.ts';

/** `prompts:`: where the library is. */
export const promptsSchema = once(() =>
  z
    .strictObject({
      directory: z.string().min(1).default('prompts').describe('A folder of prompt files; it may be missing.'),
    })
    .prefault({})
    .describe('The prompt library.'),
);
