import * as z from 'zod';
import { once } from '../../core/once.ts';

/** What we read of Ollama's `/api/chat`, `/api/generate` and `/api/embed`; null means absent, unknown fields stay. */

const jsonObject = once(() => z.record(z.string(), z.unknown()));

const ollamaOptionsSchema = once(() =>
  z.looseObject({
    temperature: z.number().min(0).nullish(),
    top_k: z.number().int().nullish(),
    top_p: z.number().min(0).max(1).nullish(),
    min_p: z.number().min(0).max(1).nullish(),
    seed: z.number().int().nullish(),
    stop: z.union([z.string(), z.array(z.string())]).nullish(),
    num_predict: z.number().int().nullish(),
    num_ctx: z.number().int().nullish(),
    repeat_penalty: z.number().min(0).nullish(),
    frequency_penalty: z.number().nullish(),
    presence_penalty: z.number().nullish(),
  }),
);

const common = once(() => ({
  model: z.string().min(1),
  stream: z.boolean().nullish(),
  format: z.union([z.literal('json'), z.literal(''), jsonObject()]).nullish(),
  options: ollamaOptionsSchema().nullish(),
  keep_alive: z.union([z.string(), z.number()]).nullish(),
  think: z.union([z.boolean(), z.string()]).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
}));

export const ollamaChatSchema = once(() =>
  z.looseObject({
    ...common(),
    messages: z
      .array(
        z.looseObject({
          role: z.enum(['system', 'user', 'assistant', 'tool']),
          content: z.string().nullish(),
          thinking: z.string().nullish(),
          images: z.array(z.string()).nullish(),
          tool_calls: z
            .array(
              z.looseObject({
                id: z.string().nullish(),
                function: z.looseObject({ name: z.string(), arguments: z.union([jsonObject(), z.string()]).nullish() }),
              }),
            )
            .nullish(),
          tool_name: z.string().nullish(),
          tool_call_id: z.string().nullish(),
        }),
      )
      .nullish(),
    tools: z
      .array(
        z.looseObject({
          type: z.literal('function').nullish(),
          function: z.looseObject({
            name: z.string().min(1),
            description: z.string().nullish(),
            parameters: jsonObject().nullish(),
          }),
        }),
      )
      .nullish(),
  }),
);

export const ollamaGenerateSchema = once(() =>
  z.looseObject({
    ...common(),
    prompt: z.string().nullish(),
    suffix: z.string().nullish(),
    images: z.array(z.string()).nullish(),
    system: z.string().nullish(),
    template: z.string().nullish(),
    raw: z.boolean().nullish(),
  }),
);

export const ollamaEmbedSchema = once(() =>
  z.looseObject({
    model: z.string().min(1),
    input: z.union([z.string(), z.array(z.string())]).nullish(),
    prompt: z.string().nullish(),
    dimensions: z.number().int().min(1).nullish(),
  }),
);

export const ollamaModelSchema = once(() => z.looseObject({ model: z.string().nullish(), name: z.string().nullish() }));
export const ollamaPullSchema = once(() => ollamaModelSchema().extend({ stream: z.boolean().nullish() }));
