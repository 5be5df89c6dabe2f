import * as z from 'zod';
import { once } from '../core/once.ts';
import { piiKinds } from './detectors.ts';
import { parseRegex } from './regex.ts';

const who = once(() =>
  z
    .strictObject({
      callers: z.array(z.string()).optional().describe('Key ids or names.'),
      teams: z.array(z.string()).optional().describe('Teams.'),
      tags: z.array(z.string()).optional().describe('Tags of the key.'),
    })
    .describe('Callers by any of these.'),
);

const common = once(() => ({
  on: z
    .enum(['input', 'output', 'both'])
    .optional()
    .describe('What it reads: requests, answers, or both. The default depends on the kind.'),
  shadow: z.boolean().default(false).describe('Only record what it would have done.'),
  for: who().optional().describe('Only for these callers.'),
  except: who().optional().describe('Not for these callers.'),
  message: z.string().min(1).optional().describe('What the client is told when this filter blocks.'),
}));

const regex = once(() =>
  z.string().superRefine((source, context) => {
    try {
      parseRegex(source);
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'is not valid' });
    }
  }),
);

const textAction = once(() =>
  z
    .enum(['block', 'mask', 'replace', 'flag', 'retry'])
    .default('mask')
    .describe(
      'What happens to text that matches; `retry` asks another target while nothing has been sent, else blocks.',
    ),
);
const replacement = once(() =>
  z.string().max(200).optional().describe('What stands in its place; `[label]` if absent.'),
);

const patterns = once(() =>
  z.strictObject({
    kind: z.literal('patterns'),
    ...common(),
    preset: z
      .union([z.enum(['secrets', 'profanity']), z.array(z.enum(['secrets', 'profanity']))])
      .optional()
      .describe('Ready-made patterns.'),
    phrases: z.array(z.string().min(1).max(1024)).optional().describe('Texts, compared without case and Unicode form.'),
    wholeWords: z.boolean().default(false).describe('Phrases match only where no letter or digit touches them.'),
    expressions: z
      .array(
        z.union([
          regex(),
          z.strictObject({
            regex: regex(),
            ignoreCase: z.boolean().default(false).describe('Compare without case.'),
            name: z.string().min(1).optional().describe('Label in masks and records.'),
          }),
        ]),
      )
      .optional()
      .describe(
        'Regular expressions of bounded length: no `*`, `+`, `{n,}`, lookahead, back-reference or long lookbehind.',
      ),
    action: textAction(),
    replacement: replacement(),
  }),
);

const pii = once(() =>
  z.strictObject({
    kind: z.literal('pii'),
    ...common(),
    kinds: z
      .array(z.enum(piiKinds))
      .min(1)
      .default([...piiKinds])
      .describe('What counts as personal.'),
    ner: z
      .union([
        z.boolean(),
        z.strictObject({ model: z.string().min(1), threshold: z.number().min(0).max(1).default(0.8) }),
      ])
      .optional()
      .describe('Names and places in requests by a local token-classification model; needs @huggingface/transformers.'),
    action: textAction(),
    replacement: replacement(),
    restore: z
      .boolean()
      .default(false)
      .describe('Mask requests by stable placeholders and put the originals back into the answer; nothing is kept.'),
  }),
);

const stop = once(() =>
  z.strictObject({
    kind: z.literal('stop'),
    ...common(),
    sequences: z.array(z.string().min(1).max(256)).min(1).describe('Texts that end the answer and are not part of it.'),
  }),
);

const length = once(() =>
  z.strictObject({
    kind: z.literal('length'),
    ...common(),
    characters: z.int().min(1).describe('The answer ends after so many characters (code points) of text per choice.'),
  }),
);

const decision = once(() =>
  z.enum(['block', 'flag', 'retry']).default('block').describe('What happens to the answer or request.'),
);

const json = once(() =>
  z.strictObject({
    kind: z.literal('json'),
    ...common(),
    schema: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("JSON Schema; the request's own response_format if absent."),
    action: z
      .enum(['block', 'flag', 'retry', 'repair'])
      .default('block')
      .describe(
        '`repair` takes JSON out of other text, goes on from where it broke under the schema, asks once more, then blocks.',
      ),
  }),
);

const language = once(() =>
  z.strictObject({
    kind: z.literal('language'),
    ...common(),
    allow: z.array(z.string().min(2)).min(1).describe('ISO 639-1 codes of the languages that may be used.'),
    characters: z.int().min(20).default(200).describe('Decided on so many characters of the text.'),
    action: decision(),
  }),
);

const judged = once(() => ({
  threshold: z.number().min(0).max(1).default(0.5).describe('Scores from here on count.'),
  characters: z
    .int()
    .min(1)
    .optional()
    .describe('Judge an answer each time so many characters came, holding only those; the whole answer if absent.'),
  onError: z.enum(['open', 'closed']).default('closed').describe('Let text pass or block it when no verdict comes.'),
  timeoutMs: z.int().min(1).default(10_000).describe('How long to wait for a verdict.'),
  action: decision(),
}));

const classifier = once(() =>
  z.strictObject({
    kind: z.literal('classifier'),
    ...common(),
    model: z.string().min(1).optional().describe('A text-classification model for @huggingface/transformers.'),
    labels: z.array(z.string()).optional().describe('Labels of the model that count; all but safe ones if absent.'),
    judge: z.string().min(1).optional().describe('A public model name that judges, instead of a classifier.'),
    prompt: z.string().min(1).optional().describe('The judge prompt, from `prompts/guard/`.'),
    ...judged(),
  }),
);

const topics = once(() =>
  z.strictObject({
    kind: z.literal('topics'),
    ...common(),
    banned: z.array(z.string().min(1)).min(1).describe('What must not be talked about, in words.'),
    judge: z.string().min(1).describe('The public model name that judges.'),
    ...judged(),
  }),
);

const webhook = once(() =>
  z.strictObject({
    kind: z.literal('webhook'),
    ...common(),
    url: z.url().describe('Gets a POST with `{stage, model, text}` and answers `{action, text?, reason?}`.'),
    headers: z.record(z.string(), z.string()).default({}).describe('Further request headers.'),
    ...judged(),
  }),
);

const confidence = once(() =>
  z.strictObject({
    kind: z.literal('confidence'),
    ...common(),
    threshold: z.number().min(0).max(1).describe('Least probability (geometric mean of the tokens) of an answer.'),
    action: z
      .enum(['retry', 'flag', 'default'])
      .default('flag')
      .describe('Ask another target, record, or give `default`.'),
    default: z.string().optional().describe('The answer to give instead.'),
  }),
);

const injection = once(() =>
  z.strictObject({
    kind: z.literal('injection'),
    ...common(),
    threshold: z.number().min(0).max(1).default(0.7).describe('Scores from here on count.'),
    action: z.enum(['block', 'flag']).default('block').describe('What happens to the request.'),
  }),
);

const limits = once(() =>
  z.strictObject({
    kind: z.literal('limits'),
    ...common(),
    characters: z.int().min(1).optional().describe('Most characters of a request, all texts together.'),
    messages: z.int().min(1).optional().describe('Most messages.'),
    tools: z.int().min(0).optional().describe('Most tools.'),
    depth: z.int().min(1).optional().describe('Deepest nesting of tool parameters, schemas and unknown fields.'),
  }),
);

/** One entry under `filters:`. */
export const filterSchema = once(() =>
  z
    .discriminatedUnion('kind', [
      patterns(),
      pii(),
      stop(),
      length(),
      json(),
      language(),
      classifier(),
      topics(),
      webhook(),
      confidence(),
      injection(),
      limits(),
    ])
    .describe('A filter; routes name it under `filters`.'),
);

export const filtersSchema = once(() => z.record(z.string(), z.lazy(filterSchema)).describe('Filters by name.'));

/** `moderation:`: who answers POST /v1/moderations on this machine. */
export const moderationSchema = once(() =>
  z
    .strictObject({
      judge: z.string().min(1).optional().describe('A public model name that judges with `prompt`.'),
      prompt: z.string().min(1).default('guard/safety').describe('The judge prompt.'),
      classifier: z.string().min(1).optional().describe('A text-classification model for @huggingface/transformers.'),
      threshold: z.number().min(0).max(1).default(0.5).describe('Scores from here on are flagged.'),
      names: z
        .array(z.string().min(1))
        .default(['omni-moderation-latest', 'text-moderation-latest'])
        .describe('Model names under which it answers.'),
    })
    .refine(({ judge, classifier }) => (judge === undefined) !== (classifier === undefined), {
      message: 'moderation names either `judge` or `classifier`',
    })
    .describe('Answers POST /v1/moderations here; absent: the first upstream that can.'),
);

export type FilterConfig = z.infer<ReturnType<typeof filterSchema>>;
export type FiltersConfig = Readonly<Record<string, FilterConfig>>;
