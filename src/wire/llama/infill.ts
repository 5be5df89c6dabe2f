import * as z from 'zod';
import type { GatewayError } from '../../core/errors.ts';
import type { Usage } from '../../core/event.ts';
import { once } from '../../core/once.ts';
import type { ChatRequest } from '../../core/request.ts';
import type { AnswerMeta, StreamEncoder, WireFormat } from '../format.ts';
import { decodeSampling, extensionsOf, priorityOf, stopList } from '../openai/decode.ts';
import { encodeError } from '../openai/errors.ts';
import { samplingFields, stopSchema } from '../openai/schema.ts';
import { encodeSse, sseHeaders, ssePing } from '../sse.ts';
import { parseBody } from '../validate.ts';

/** llama-server's `POST /infill`, which editors speak (llama.vim, llama.vscode). */
export const infillSchema = once(() =>
  z.looseObject({
    model: z.string().min(1),
    input_prefix: z.string().nullish(),
    input_suffix: z.string().nullish(),
    input_extra: z
      .array(z.looseObject({ text: z.string(), filename: z.string().nullish() }))
      .max(1024)
      .nullish(),
    /** Text that stands right before the gap already. */
    prompt: z.string().nullish(),
    n_predict: z.number().int().min(-1).nullish(),
    ...samplingFields(),
    stop: stopSchema().or(z.array(z.string()).max(0)).nullish(),
    stream: z.boolean().nullish(),
    response_fields: z.array(z.string()).max(64).nullish(),
  }),
);

const modelled = new Set(
  [
    'model input_prefix input_suffix input_extra prompt n_predict temperature top_p top_k min_p seed frequency_penalty',
    'presence_penalty repetition_penalty repeat_penalty logit_bias stop stream response_fields',
  ].flatMap((line) => line.split(' ')),
);

export const llamaInfill: WireFormat = {
  dialect: 'openai-completions',
  streamType: sseHeaders['content-type'],
  ping: ssePing,
  decode(body, source): ChatRequest {
    const parsed = parseBody(infillSchema(), body);
    const most = parsed.n_predict ?? -1;
    return {
      model: parsed.model,
      messages: [],
      prompt: {
        text: (parsed.input_prefix ?? '') + (parsed.prompt ?? ''),
        suffix: parsed.input_suffix ?? '',
        files: (parsed.input_extra ?? []).map(({ text, filename }) => ({ text, filename: filename ?? 'tmp' })),
        echo: false,
      },
      sampling: decodeSampling(parsed),
      ...(most < 0 ? {} : { maxTokens: most }),
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
      extensions: extensionsOf(body, modelled),
      answer: { responseFields: parsed.response_fields ?? [] },
    };
  },
  encodeStream: createInfillEncoder,
  encodeWhole({ choices, usage }, meta) {
    const [choice] = choices;
    return pick(summary(meta, choice?.text ?? '', usage, choice?.finishReason ?? 'stop', choice?.stopSequence), meta);
  },
  encodeError,
};

function createInfillEncoder(meta: AnswerMeta): StreamEncoder {
  let reason = 'stop';
  let stopSequence: string | undefined;
  let usage: Usage | undefined;
  let written = 0;
  return {
    push(event) {
      if (event.type === 'text-delta') {
        if (event.text === '') return '';
        written++;
        return encodeSse(
          JSON.stringify({ index: 0, content: event.text, tokens: [], stop: false, tokens_predicted: written }),
        );
      }
      if (event.type === 'finish') [reason, stopSequence] = [event.reason, event.stopSequence];
      if (event.type === 'usage') usage = event.usage;
      return '';
    },
    end: () => encodeSse(JSON.stringify(pick(summary(meta, '', usage, reason, stopSequence), meta))),
    error: (error: GatewayError) => encodeSse(JSON.stringify(encodeError(error))),
  };
}

function summary(
  { request }: AnswerMeta,
  content: string,
  usage: Usage | undefined,
  reason: string,
  stopSequence: string | undefined,
) {
  const { promptTokens = 0, completionTokens = 0, cachedTokens = 0, prefillMs = 0, decodeMs = 0 } = usage ?? {};
  const read = promptTokens - cachedTokens;
  const each = (ms: number, tokens: number) => (tokens > 0 ? ms / tokens : 0);
  const perSecond = (ms: number, tokens: number) => (ms > 0 ? (tokens * 1000) / ms : 0);
  return {
    index: 0,
    content,
    tokens: [],
    id_slot: -1,
    stop: true,
    model: request.model,
    tokens_predicted: completionTokens,
    tokens_evaluated: promptTokens,
    tokens_cached: cachedTokens,
    generation_settings: {},
    prompt: '',
    has_new_line: content.includes('\n'),
    truncated: false,
    stop_type: reason === 'length' ? 'limit' : stopSequence === undefined ? 'eos' : 'word',
    stopping_word: stopSequence ?? '',
    timings: {
      cache_n: cachedTokens,
      prompt_n: read,
      prompt_ms: prefillMs,
      prompt_per_token_ms: each(prefillMs, read),
      prompt_per_second: perSecond(prefillMs, read),
      predicted_n: completionTokens,
      predicted_ms: decodeMs,
      predicted_per_token_ms: each(decodeMs, completionTokens),
      predicted_per_second: perSecond(decodeMs, completionTokens),
    },
  };
}

/** Only the fields that the client named (`timings/prompt_n`), as llama-server gives them; all where it named none. */
function pick(answer: object, { request }: AnswerMeta): object {
  const fields = request.answer?.['responseFields'];
  if (!Array.isArray(fields) || fields.length === 0) return answer;
  const found: Record<string, unknown> = {};
  for (const field of fields) {
    let value: unknown = answer;
    for (const key of String(field).split('/')) {
      value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined; // own data
    }
    if (value !== undefined) found[String(field)] = value;
  }
  return found;
}
