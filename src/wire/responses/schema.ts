import * as z from 'zod';
import { once } from '../../core/once.ts';
import { metadataSchema, promptReferenceSchema, samplingFields, streamOptionsSchema } from '../openai/schema.ts';

/** What we read of `POST /v1/responses`; null means absent, unknown fields, items, parts and tools stay. */

const jsonObject = once(() => z.record(z.string(), z.unknown()));
const looseType = once(() => z.looseObject({ type: z.string() }));
const content = once(() => z.union([z.string(), z.array(looseType())]));

export const messageItemSchema = once(() =>
  z.looseObject({
    type: z.literal('message').nullish(),
    role: z.enum(['user', 'assistant', 'system', 'developer']),
    content: content().nullish(),
  }),
);
export const functionCallSchema = once(() =>
  z.looseObject({
    call_id: z.string().min(1),
    name: z.string(),
    arguments: z.union([z.string(), jsonObject()]),
  }),
);
export const customCallSchema = once(() =>
  z.looseObject({ call_id: z.string().min(1), name: z.string(), input: z.string() }),
);
export const callOutputSchema = once(() => z.looseObject({ call_id: z.string().min(1), output: content().nullish() }));
export const reasoningItemSchema = once(() =>
  z.looseObject({
    id: z.string().nullish(),
    summary: z.array(z.looseObject({ text: z.string().nullish() })).nullish(),
    content: z.array(z.looseObject({ text: z.string().nullish() })).nullish(),
    encrypted_content: z.string().nullish(),
  }),
);

export const functionToolSchema = once(() =>
  z.looseObject({
    name: z.string().min(1).max(256),
    description: z.string().nullish(),
    parameters: jsonObject().nullish(),
    strict: z.boolean().nullish(),
  }),
);
export const customToolSchema = once(() =>
  z.looseObject({
    name: z.string().min(1).max(256),
    description: z.string().nullish(),
    format: jsonObject().nullish(),
  }),
);
export const namespaceToolSchema = once(() => z.looseObject({ name: z.string(), tools: z.array(looseType()) }));

const textFormatSchema = once(() =>
  z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('text') }),
    z.looseObject({ type: z.literal('json_object') }),
    z.looseObject({
      type: z.literal('json_schema'),
      name: z.string().min(1).max(64),
      schema: jsonObject().nullish(),
      strict: z.boolean().nullish(),
      description: z.string().nullish(),
    }),
  ]),
);

export const responseRequestSchema = once(() =>
  z.looseObject({
    model: z.string().min(1),
    input: z.union([z.string(), z.array(z.looseObject({ type: z.string().nullish() }))]).nullish(),
    instructions: z.string().nullish(),
    previous_response_id: z.string().nullish(),
    conversation: z.union([z.string(), z.looseObject({ id: z.string() })]).nullish(),
    store: z.boolean().nullish(),
    stream: z.boolean().nullish(),
    stream_options: streamOptionsSchema().nullish(),
    background: z.boolean().nullish(),
    max_output_tokens: z.number().int().min(1).nullish(),
    max_tool_calls: z.number().int().min(1).nullish(),
    ...samplingFields(),
    top_logprobs: z.number().int().min(0).max(20).nullish(),
    tools: z.array(looseType()).max(1024).nullish(),
    tool_choice: z
      .union([
        z.enum(['none', 'auto', 'required']),
        z.looseObject({
          type: z.string(),
          name: z.string().nullish(),
          mode: z.enum(['auto', 'required']).nullish(),
          tools: z.array(z.looseObject({ type: z.string(), name: z.string().nullish() })).nullish(),
        }),
      ])
      .nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    text: z.looseObject({ format: textFormatSchema().nullish(), verbosity: z.string().nullish() }).nullish(),
    reasoning: z.looseObject({ effort: z.string().max(32).nullish(), summary: z.string().nullish() }).nullish(),
    include: z.array(z.string()).nullish(),
    truncation: z.enum(['auto', 'disabled']).nullish(),
    metadata: metadataSchema().nullish(),
    prompt: promptReferenceSchema().nullish(),
    prompt_cache_key: z.string().nullish(),
    safety_identifier: z.string().nullish(),
    user: z.string().nullish(),
    service_tier: z.string().nullish(),
  }),
);
export type ResponseBody = z.output<ReturnType<typeof responseRequestSchema>>;
