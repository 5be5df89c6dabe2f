import * as z from 'zod';
import { once } from '../../core/once.ts';

/** What we read of a chat request; null means absent, unknown fields stay. Bounds are OpenAI's, wider where real clients need it. */

const name = once(() =>
  z.string().regex(/^[A-Za-z0-9_.:-]{1,128}$/, "letters, digits, '_', '-', '.' and ':' only, 128 at most"),
);
const jsonObject = once(() => z.record(z.string(), z.unknown()));
/** Any whole number: seeds may lie beyond 2^53. */
const wholeNumber = once(() => z.number().refine(Number.isInteger, 'expected an integer'));

/** A bound that is broken is told as one of decimals, whatever the value. */
const decimal = (least: number, most: number) => z.number().min(least, 'decimal').max(most, 'decimal');

const textPart = once(() => z.looseObject({ type: z.literal('text'), text: z.string() }));
const refusalPart = once(() => z.looseObject({ type: z.literal('refusal'), refusal: z.string() }));
const imagePart = once(() =>
  z.looseObject({
    type: z.literal('image_url'),
    image_url: z.union([z.looseObject({ url: z.string(), detail: z.string().nullish() }), z.string()]),
  }),
);
const audioPart = once(() =>
  z.looseObject({
    type: z.literal('input_audio'),
    input_audio: z.looseObject({ data: z.string(), format: z.string() }),
  }),
);
const filePart = once(() =>
  z.looseObject({
    type: z.literal('file'),
    file: z.looseObject({
      file_data: z.string().nullish(),
      file_id: z.string().nullish(),
      filename: z.string().nullish(),
    }),
  }),
);
const textParts = once(() => z.union([z.string(), z.array(textPart())]));

export const toolCallSchema = once(() =>
  z.discriminatedUnion('type', [
    z.looseObject({
      id: z.string().min(1),
      type: z.literal('function'),
      function: z.looseObject({ name: z.string(), arguments: z.union([z.string(), jsonObject()]).nullish() }),
    }),
    z.looseObject({
      id: z.string().min(1),
      type: z.literal('custom'),
      custom: z.looseObject({ name: z.string(), input: z.string() }),
    }),
  ]),
);

const messageSchema = once(() =>
  z.discriminatedUnion('role', [
    z.looseObject({ role: z.enum(['system', 'developer']), content: textParts(), name: z.string().nullish() }),
    z.looseObject({
      role: z.literal('user'),
      content: z.union([
        z.string(),
        z.array(z.discriminatedUnion('type', [textPart(), imagePart(), audioPart(), filePart()])),
      ]),
      name: z.string().nullish(),
    }),
    z.looseObject({
      role: z.literal('assistant'),
      content: z.union([z.string(), z.array(z.discriminatedUnion('type', [textPart(), refusalPart()]))]).nullish(),
      refusal: z.string().nullish(),
      name: z.string().nullish(),
      tool_calls: z.array(toolCallSchema()).nullish(),
      function_call: z.looseObject({ name: z.string(), arguments: z.string() }).nullish(),
      reasoning_content: z.string().nullish(),
      reasoning: z.string().nullish(),
      prefix: z.boolean().nullish(),
    }),
    z.looseObject({
      role: z.literal('tool'),
      content: z.union([z.string(), z.array(z.discriminatedUnion('type', [textPart(), imagePart()]))]).nullish(),
      tool_call_id: z.string().min(1),
      name: z.string().nullish(),
    }),
    z.looseObject({ role: z.literal('function'), content: z.string().nullish(), name: z.string() }),
  ]),
);

const functionSchema = once(() =>
  z.looseObject({
    name: name(),
    description: z.string().nullish(),
    parameters: jsonObject().nullish(),
    strict: z.boolean().nullish(),
  }),
);
const toolSchema = once(() =>
  z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('function'), function: functionSchema() }),
    z.looseObject({
      type: z.literal('custom'),
      custom: z.looseObject({ name: name(), description: z.string().nullish(), format: jsonObject().nullish() }),
    }),
  ]),
);

const toolName = once(() =>
  z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: z.string() }) }),
    z.looseObject({ type: z.literal('custom'), custom: z.looseObject({ name: z.string() }) }),
  ]),
);
const toolChoiceSchema = once(() =>
  z.union([
    z.enum(['none', 'auto', 'required']),
    z.discriminatedUnion('type', [
      z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: z.string() }) }),
      z.looseObject({ type: z.literal('custom'), custom: z.looseObject({ name: z.string() }) }),
      z.looseObject({
        type: z.literal('allowed_tools'),
        allowed_tools: z.looseObject({ mode: z.enum(['auto', 'required']), tools: z.array(toolName()) }),
      }),
    ]),
  ]),
);

const responseFormatSchema = once(() =>
  z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('text') }),
    z.looseObject({ type: z.literal('json_object'), schema: jsonObject().nullish() }),
    z.looseObject({
      type: z.literal('json_schema'),
      json_schema: z.looseObject({
        name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, '_' and '-' only, 64 at most"),
        schema: jsonObject().nullish(),
        strict: z.boolean().nullish(),
        description: z.string().nullish(),
      }),
    }),
  ]),
);

export const metadataSchema = once(() =>
  z
    .record(z.string().max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= 16, 'at most 16 pairs'),
);

/** The body that changes what is kept of an object; null empties it. */
export const changedMetadataSchema = once(() => z.looseObject({ metadata: metadataSchema().nullable() }));

export const samplingFields = once(() => ({
  temperature: decimal(0, 2).nullish(),
  top_p: decimal(0, 1).nullish(),
  top_k: z.number().int().min(-1).max(1_000_000).nullish(),
  min_p: decimal(0, 1).nullish(),
  seed: wholeNumber().nullish(),
  frequency_penalty: decimal(-2, 2).nullish(),
  presence_penalty: decimal(-2, 2).nullish(),
  repetition_penalty: decimal(0, 10).nullish(),
  repeat_penalty: decimal(0, 10).nullish(),
  logit_bias: z.record(z.string().regex(/^\d{1,9}$/, 'keys are token ids'), z.number().min(-100).max(100)).nullish(),
}));

/** The limit by llama.cpp's name, which its clients send on every route; -1 is none. */
export const limitSchema = once(() => z.number().int().min(-1).nullish());

export const stopSchema = once(() => z.union([z.string().min(1), z.array(z.string().min(1).max(1024)).max(64)]));
export const streamOptionsSchema = once(() =>
  z.looseObject({
    include_usage: z.boolean().nullish(),
    include_obfuscation: z.boolean().nullish(),
  }),
);
export const promptReferenceSchema = once(() =>
  z.looseObject({
    id: z.string().min(1),
    version: z.string().nullish(),
    variables: jsonObject().nullish(),
  }),
);

export const chatRequestSchema = once(() =>
  z.looseObject({
    messages: z.array(messageSchema()).min(1),
    model: z.string().min(1),
    max_completion_tokens: z.number().int().min(1).nullish(),
    max_tokens: z.number().int().min(1).nullish(),
    n_predict: limitSchema(),
    ...samplingFields(),
    n: z.number().int().min(1).max(128).nullish(),
    stop: stopSchema().nullish(),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.number().int().min(0).max(20).nullish(),
    response_format: responseFormatSchema().nullish(),
    grammar: z.string().min(1).nullish(),
    tools: z.array(toolSchema()).max(1024).nullish(),
    tool_choice: toolChoiceSchema().nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    functions: z.array(functionSchema()).max(128).nullish(),
    function_call: z.union([z.enum(['none', 'auto']), z.looseObject({ name: z.string() })]).nullish(),
    stream: z.boolean().nullish(),
    stream_options: streamOptionsSchema().nullish(),
    prediction: z.looseObject({ type: z.literal('content'), content: textParts() }).nullish(),
    reasoning_effort: z.string().max(32).nullish(),
    reasoning: z
      .looseObject({
        effort: z.string().max(32).nullish(),
        max_tokens: z.number().int().min(0).nullish(),
        enabled: z.boolean().nullish(),
        summary: z.string().nullish(),
      })
      .nullish(),
    metadata: metadataSchema().nullish(),
    store: z.boolean().nullish(),
    user: z.string().nullish(),
    safety_identifier: z.string().nullish(),
    prompt_cache_key: z.string().nullish(),
    service_tier: z.string().nullish(),
    continue_final_message: z.boolean().nullish(),
    prompt: promptReferenceSchema().nullish(),
  }),
);

export type ChatBody = z.output<ReturnType<typeof chatRequestSchema>>;
export type MessageBody = z.output<ReturnType<typeof messageSchema>>;
export type ToolBody = z.output<ReturnType<typeof toolSchema>>;
