import * as z from 'zod';
import type { JsonObject } from '../../core/json.ts';
import type { ChatRequest } from '../../core/request.ts';
import type { RequestSource } from '../format.ts';
import { decodeSampling, limitOf } from '../openai/decode.ts';
import { limitSchema, samplingFields, stopSchema } from '../openai/schema.ts';
import { extensionsOf, priorityOf, stopList } from '../request-fields.ts';

/** Token and bias in turn, with which llama-server's clients say what OpenAI's say in an object; false bans the token. */
const biasPairs = () =>
  z
    .array(z.tuple([z.number().int().min(0), z.union([z.number().min(-100).max(100), z.literal(false)])]))
    .transform((pairs) => Object.fromEntries(pairs.map(([token, bias]) => [token, bias === false ? -100 : bias])));

/** What llama-server's own routes have in common. */
export const llamaFields = () => ({
  model: z.string().min(1),
  n_predict: limitSchema(),
  /** The same by OpenAI's name. */
  max_tokens: limitSchema(),
  ...samplingFields(),
  logit_bias: z.union([samplingFields().logit_bias, biasPairs()]),
  stop: stopSchema().or(z.array(z.string()).max(0)).nullish(),
  stream: z.boolean().nullish(),
  response_fields: z.array(z.string()).max(64).nullish(),
});

const modelled = [
  'model prompt n_predict max_tokens temperature top_p top_k min_p seed frequency_penalty presence_penalty repetition_penalty',
  'repeat_penalty logit_bias stop stream response_fields',
].flatMap((line) => line.split(' '));

/** A raw completion of `prompt`; `own` are the fields of its body that the route has read besides. */
export function llamaRequest(
  parsed: z.infer<z.ZodObject<ReturnType<typeof llamaFields>>>,
  body: JsonObject,
  source: RequestSource,
  prompt: NonNullable<ChatRequest['prompt']>,
  own: readonly string[],
): ChatRequest {
  const maxTokens = limitOf(parsed.n_predict ?? parsed.max_tokens);
  return {
    model: parsed.model,
    messages: [],
    prompt,
    sampling: decodeSampling(parsed),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    stop: stopList(parsed.stop),
    choices: 1,
    tools: [],
    toolChoice: 'none',
    parallelToolCalls: true,
    responseFormat: { type: 'text' },
    continueFinalMessage: false,
    stream: parsed.stream ?? false,
    priority: priorityOf(source.headers),
    dialect: 'openai-completions',
    extensions: extensionsOf(body, new Set([...modelled, ...own])),
    answer: { responseFields: parsed.response_fields ?? [] },
  };
}
