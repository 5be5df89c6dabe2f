import * as z from 'zod';
import { once } from '../../core/once.ts';

/** What we read of `POST /v1/messages`; null means absent, unknown fields, blocks and tools stay. */

const jsonObject = once(() => z.record(z.string(), z.unknown()));
const looseType = once(() => z.looseObject({ type: z.string() }));
const content = once(() => z.union([z.string(), z.array(looseType())]));

export const textBlockSchema = once(() => z.looseObject({ text: z.string() }));
const source = once(() =>
  z.looseObject({
    type: z.string(),
    media_type: z.string().nullish(),
    data: z.string().nullish(),
    url: z.string().nullish(),
    file_id: z.string().nullish(),
  }),
);
export const imageBlockSchema = once(() => z.looseObject({ source: source() }));
export const documentBlockSchema = once(() =>
  z.looseObject({
    source: source().extend({ content: content().nullish() }),
    title: z.string().nullish(),
    context: z.string().nullish(),
  }),
);
export const searchResultSchema = once(() =>
  z.looseObject({ title: z.string(), source: z.string(), content: content().nullish() }),
);
export const toolResultSchema = once(() =>
  z.looseObject({
    tool_use_id: z.string().min(1),
    content: content().nullish(),
    is_error: z.boolean().nullish(),
  }),
);
export const toolUseSchema = once(() =>
  z.looseObject({ id: z.string().min(1), name: z.string(), input: jsonObject().nullish() }),
);
export const thinkingSchema = once(() => z.looseObject({ thinking: z.string(), signature: z.string().nullish() }));
export const redactedThinkingSchema = once(() => z.looseObject({ data: z.string() }));

const functionTool = once(() =>
  z.looseObject({
    type: z.string().nullish(),
    name: z.string().min(1).max(256).nullish(), // an MCP toolset has none
    description: z.string().nullish(),
    input_schema: jsonObject().nullish(),
  }),
);

const inputFields = once(() => ({
  model: z.string().min(1),
  messages: z
    .array(z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content: content().nullish() }))
    .min(1),
  system: content().nullish(),
  tools: z.array(functionTool()).max(1024).nullish(),
  tool_choice: z
    .looseObject({
      type: z.enum(['auto', 'any', 'tool', 'none']),
      name: z.string().nullish(),
      disable_parallel_tool_use: z.boolean().nullish(),
    })
    .nullish(),
  thinking: z.looseObject({ type: z.string(), budget_tokens: z.number().int().min(0).nullish() }).nullish(),
}));

/** `POST /v1/messages/count_tokens` */
export const countTokensSchema = once(() => z.looseObject(inputFields()));

export const messagesRequestSchema = once(() =>
  z.looseObject({
    ...inputFields(),
    max_tokens: z.number().int().min(1),
    stop_sequences: z.array(z.string().min(1).max(1024)).max(64).nullish(),
    temperature: z.number().min(0).max(1).nullish(),
    top_p: z.number().min(0).max(1).nullish(),
    top_k: z.number().int().min(0).nullish(),
    stream: z.boolean().nullish(),
    output_config: z
      .looseObject({
        format: z.looseObject({ type: z.literal('json_schema'), schema: jsonObject() }).nullish(),
        effort: z.string().max(32).nullish(),
      })
      .nullish(),
    output_format: z.looseObject({ type: z.literal('json_schema'), schema: jsonObject() }).nullish(),
    metadata: z.looseObject({ user_id: z.string().nullish() }).nullish(),
    service_tier: z.string().nullish(),
  }),
);
export type MessagesBody = z.output<ReturnType<typeof messagesRequestSchema>>;
