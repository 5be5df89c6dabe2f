import * as z from 'zod';
import { once } from '../../core/once.ts';

/** The form of our answers: the reference is made of it, and the tests hold the encoders to it. */

export const errorAnswer = once(() =>
  z.object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  }),
);

// Loose, and without what we always tell: an upstream of the same dialect is answered with in its own words.
const usage = once(() =>
  z.looseObject({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.looseObject({}).nullish(),
    completion_tokens_details: z.looseObject({}).nullish(),
  }),
);

const logprob = once(() => z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()).nullable() }));
const chatLogprobs = once(() =>
  z
    .object({ content: z.array(logprob().extend({ top_logprobs: z.array(logprob()) })).nullable(), refusal: z.null() })
    .nullable(),
);
const finishReason = once(() => z.enum(['stop', 'length', 'tool_calls', 'content_filter', 'function_call']));

const toolCall = once(() =>
  z.union([
    z.object({
      id: z.string(),
      type: z.literal('function'),
      function: z.object({ name: z.string(), arguments: z.string() }),
    }),
    z.object({ id: z.string(), type: z.literal('custom'), custom: z.object({ name: z.string(), input: z.string() }) }),
  ]),
);

export const chatCompletionAnswer = once(() =>
  z.looseObject({
    id: z.string(),
    object: z.literal('chat.completion'),
    created: z.int(),
    model: z.string(),
    choices: z.array(
      z.looseObject({
        index: z.int(),
        message: z.looseObject({
          role: z.literal('assistant'),
          content: z.string().nullish(),
          refusal: z.string().nullish(),
          tool_calls: z.array(toolCall()).nullish(),
        }),
        logprobs: chatLogprobs().optional(),
        finish_reason: finishReason(),
      }),
    ),
    usage: usage().optional(),
  }),
);

export const completionAnswer = once(() =>
  z.looseObject({
    id: z.string(),
    object: z.literal('text_completion'),
    created: z.int(),
    model: z.string(),
    choices: z.array(
      z.looseObject({
        text: z.string(),
        index: z.int(),
        logprobs: z
          .looseObject({
            tokens: z.array(z.string()),
            token_logprobs: z.array(z.number().nullable()),
            top_logprobs: z.array(z.record(z.string(), z.number())).nullable(),
            text_offset: z.array(z.int()),
          })
          .nullish(),
        finish_reason: finishReason(),
      }),
    ),
    usage: usage().optional(),
  }),
);

const responseUsage = once(() =>
  z.object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  }),
);

export const responseAnswerSchema = once(() =>
  z.looseObject({
    id: z.string(),
    object: z.literal('response'),
    created_at: z.int(),
    status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    incomplete_details: z.object({ reason: z.string(), message: z.string().optional() }).nullable(),
    instructions: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    model: z.string(),
    output: z.array(z.looseObject({ id: z.string(), type: z.string(), status: z.string() })),
    parallel_tool_calls: z.boolean(),
    temperature: z.number(),
    tool_choice: z.unknown(),
    tools: z.array(z.unknown()),
    top_p: z.number(),
    usage: responseUsage().nullable(),
  }),
);

export const compactionAnswer = once(() =>
  z.object({
    id: z.string(),
    object: z.literal('response.compaction'),
    created_at: z.int(),
    output: z.array(z.looseObject({ id: z.string(), type: z.string() })),
    usage: responseUsage(),
  }),
);

export const modelAnswer = once(() =>
  z.looseObject({
    id: z.string(),
    object: z.literal('model'),
    created: z.int(),
    owned_by: z.string(),
    type: z.literal('model'),
    display_name: z.string(),
    created_at: z.string(),
  }),
);

export const listOf = <T extends z.ZodType>(item: T) =>
  z.looseObject({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });

export const embeddingsAnswer = once(() =>
  z.object({
    object: z.literal('list'),
    data: z.array(
      z.object({
        object: z.literal('embedding'),
        index: z.int(),
        embedding: z.union([z.array(z.number()), z.string()]),
      }),
    ),
    model: z.string(),
    usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  }),
);

export const moderationsAnswer = once(() =>
  z.object({
    id: z.string(),
    model: z.string(),
    results: z.array(
      z.object({
        flagged: z.boolean(),
        categories: z.record(z.string(), z.boolean()),
        category_scores: z.record(z.string(), z.number()),
        category_applied_input_types: z.record(z.string(), z.array(z.string())),
      }),
    ),
  }),
);

export const rerankAnswer = once(() =>
  z.object({
    id: z.string(),
    object: z.literal('list'),
    model: z.string(),
    results: z.array(
      z.object({
        index: z.int(),
        relevance_score: z.number(),
        document: z.object({ text: z.string() }).optional(),
      }),
    ),
    usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  }),
);

export const fileAnswer = once(() =>
  z.looseObject({
    id: z.string(),
    object: z.literal('file'),
    bytes: z.int(),
    created_at: z.int(),
    filename: z.string(),
    purpose: z.string(),
    status: z.literal('processed'),
  }),
);

export const batchAnswer = once(() =>
  z.looseObject({
    id: z.string(),
    object: z.literal('batch'),
    endpoint: z.string(),
    input_file_id: z.string(),
    completion_window: z.string(),
    status: z.enum([
      'validating',
      'failed',
      'in_progress',
      'finalizing',
      'completed',
      'expired',
      'cancelling',
      'cancelled',
    ]),
    output_file_id: z.string().nullable(),
    error_file_id: z.string().nullable(),
    created_at: z.int(),
    request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
    metadata: z.record(z.string(), z.string()).nullable(),
  }),
);

export const conversationAnswer = once(() =>
  z.object({
    id: z.string(),
    object: z.literal('conversation'),
    created_at: z.int(),
    metadata: z.record(z.string(), z.string()),
  }),
);

export const deletedAnswer = once(() => z.object({ id: z.string(), object: z.string(), deleted: z.literal(true) }));
