import * as z from 'zod';
import { GatewayError } from '../../core/errors.ts';
import type { CompletionEvent, TokenLogprob, Usage } from '../../core/event.ts';
import { once } from '../../core/once.ts';
import type { ChatRequest } from '../../core/request.ts';
import type { Collected } from '../../core/streams.ts';
import { sumUsage } from '../../core/usage.ts';
import type { AnswerMeta, RequestSource, StreamEncoder, WireFormat } from '../format.ts';
import { extensionsOf, priorityOf, stopList, wireOf } from '../request-fields.ts';
import { encodeSse, sseDone, sseHeaders, ssePing } from '../sse.ts';
import { invalidValue, parseBody } from '../validate.ts';
import { decodeSampling, limitOf } from './decode.ts';
import { encodeFinishReason } from './encode.ts';
import { encodeError } from './errors.ts';
import { limitSchema, samplingFields, stopSchema, streamOptionsSchema } from './schema.ts';
import { encodeUsage } from './usage.ts';

const tokenId = once(() => z.number().int().min(0));

export const completionRequestSchema = once(() =>
  z.looseObject({
    model: z.string().min(1),
    prompt: z
      .union([
        z.string(),
        z.array(z.string()).min(1).max(128),
        z.array(tokenId()).min(1),
        z.array(z.array(tokenId()).min(1)).min(1).max(128),
      ])
      .nullish(),
    suffix: z.string().nullish(),
    max_tokens: z.number().int().min(0).nullish(),
    n_predict: limitSchema(),
    ...samplingFields(),
    n: z.number().int().min(1).max(128).nullish(),
    best_of: z.number().int().min(1).max(20).nullish(),
    echo: z.boolean().nullish(),
    logprobs: z.number().int().min(0).max(5).nullish(),
    stop: stopSchema().nullish(),
    stream: z.boolean().nullish(),
    stream_options: streamOptionsSchema().nullish(),
    grammar: z.string().min(1).nullish(),
    user: z.string().nullish(),
  }),
);

const modelled = new Set(
  [
    'model prompt suffix max_tokens n_predict temperature top_p top_k min_p seed frequency_penalty presence_penalty grammar',
    'repetition_penalty repeat_penalty logit_bias n best_of echo logprobs stop stream stream_options user',
  ].flatMap((line) => line.split(' ')),
);

/** One request for each prompt: a body may hold several. Their choices are numbered `prompt × n + choice`. */
export function decodeCompletionRequests(body: unknown, source: RequestSource = { headers: {} }): ChatRequest[] {
  const parsed = parseBody(completionRequestSchema(), body);
  const prompts = promptsOf(parsed.prompt ?? '');
  const n = parsed.n ?? 1;
  const bestOf = parsed.best_of ?? n;
  if (bestOf < n) throw badBestOf("'best_of' must not be below 'n'.");
  if (bestOf > n && parsed.stream) throw badBestOf("'best_of' above 'n' can't be streamed.");
  // OpenAI's default of 16 is for plain completions; editors that fill in the middle rely on it too.
  const maxTokens = parsed.max_tokens ?? (parsed.n_predict == null ? 16 : limitOf(parsed.n_predict));
  return prompts.map((text) => ({
    model: parsed.model,
    messages: [],
    prompt: { text, echo: parsed.echo ?? false, ...(parsed.suffix ? { suffix: parsed.suffix } : {}) },
    sampling: decodeSampling(parsed),
    maxTokens,
    stop: stopList(parsed.stop),
    choices: bestOf,
    tools: [],
    toolChoice: 'none',
    parallelToolCalls: true,
    responseFormat: parsed.grammar == null ? { type: 'text' } : { type: 'grammar', grammar: parsed.grammar },
    // the best of several is told by its log-probabilities
    ...(parsed.logprobs == null && bestOf === n ? {} : { logprobs: { top: parsed.logprobs ?? 0 } }),
    continueFinalMessage: false,
    stream: parsed.stream ?? false,
    priority: priorityOf(source.headers),
    ...(parsed.user == null ? {} : { user: parsed.user }),
    dialect: 'openai-completions',
    extensions: extensionsOf(body, modelled),
    answer: {
      n,
      includeUsage: parsed.stream_options?.include_usage === true,
      logprobs: parsed.logprobs ?? null,
    },
    ...(prompts.length === 1 && bestOf === n ? { wire: wireOf('openai-completions', body, source) } : {}),
  }));
}

const badBestOf = (message: string) => invalidValue('best_of', message);

function promptsOf(prompt: string | string[] | number[] | number[][]): (string | number[])[] {
  if (typeof prompt === 'string') return [prompt];
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as (string | number[])[]); // no mixed arrays pass the schema
}

/** `POST /v1/completions` with one prompt; the route puts several together. */
export const openaiCompletions: WireFormat = {
  dialect: 'openai-completions',
  streamType: sseHeaders['content-type'],
  ping: ssePing,
  decode(body, source) {
    const [first] = decodeCompletionRequests(body, source);
    if (!first) throw new GatewayError('invalid_request', 'No prompt.', { param: 'prompt' });
    return first;
  },
  encodeStream: createCompletionEncoder,
  encodeWhole: (collected, meta) => encodeCompletion([collected], meta),
  encodeError,
};

interface LegacyLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: Record<string, number>[] | null;
  text_offset: number[];
}

/** The old form of log-probabilities: four lists beside each other; `offset` is the text's length so far. */
function encodeLegacyLogprobs(
  entries: readonly TokenLogprob[],
  top: number,
  offset: number,
  echo: boolean,
): LegacyLogprobs {
  const out: LegacyLogprobs = { tokens: [], token_logprobs: [], top_logprobs: top > 0 ? [] : null, text_offset: [] };
  for (const entry of entries) {
    out.tokens.push(entry.token);
    // nothing stands before the first token of an echoed prompt that could have foretold it
    out.token_logprobs.push(echo && offset === 0 ? null : Math.max(-9999, entry.logprob));
    out.top_logprobs?.push(Object.fromEntries(entry.top.map((one) => [one.token, Math.max(-9999, one.logprob)])));
    out.text_offset.push(offset);
    offset += entry.token.length;
  }
  return out;
}

const wantedLogprobs = (request: ChatRequest): number | undefined => {
  const wanted = request.answer?.['logprobs'];
  return typeof wanted === 'number' ? wanted : undefined;
};

function createCompletionEncoder(meta: AnswerMeta): StreamEncoder {
  const includeUsage = meta.request.answer?.['includeUsage'] === true;
  const top = wantedLogprobs(meta.request);
  const echo = meta.request.prompt?.echo === true;
  const offsets: number[] = [];
  let usage: Usage | undefined;
  let head = { id: `cmpl-${meta.id}`, object: 'text_completion', created: meta.createdAt, model: meta.request.model };
  const tail = includeUsage ? { usage: null } : {};
  const chunk = (index: number, text: string, logprobs: object | null, finish_reason: string | null) =>
    encodeSse(JSON.stringify({ ...head, choices: [{ text, index, logprobs, finish_reason }], ...tail }));
  return {
    push(event: CompletionEvent) {
      switch (event.type) {
        case 'text-delta': {
          const offset = offsets[event.choice] ?? 0;
          offsets[event.choice] = offset + event.text.length;
          const logprobs =
            event.logprobs && top !== undefined ? encodeLegacyLogprobs(event.logprobs, top, offset, echo) : null;
          return event.text === '' && logprobs === null ? '' : chunk(event.choice, event.text, logprobs, null);
        }
        case 'finish':
          return chunk(event.choice, '', null, encodeFinishReason(event.reason, { calls: 0, refused: false }));
        case 'usage':
          usage = event.usage;
          return '';
        case 'takeover':
          for (const said of event.delivered ?? []) {
            if (said.type === 'start') {
              const { id = head.id, created = head.created, model = head.model } = said;
              head = { ...head, id, created, model };
            } else if (said.type === 'text-delta') {
              offsets[said.choice] = (offsets[said.choice] ?? 0) + said.text.length;
            }
          }
          return '';
        default:
          return '';
      }
    },
    end() {
      if (!includeUsage || !usage) return sseDone;
      return encodeSse(JSON.stringify({ ...head, choices: [], usage: encodeUsage(usage) })) + sseDone;
    },
    error: (error: GatewayError) => encodeSse(JSON.stringify(encodeError(error))),
  };
}

/** The answers of all prompts as one body; of more than `n` choices the likeliest are given. */
export function encodeCompletion(answers: readonly Collected[], meta: Omit<AnswerMeta, 'target' | 'requestId'>) {
  const n = meta.request.answer?.['n'];
  const top = wantedLogprobs(meta.request);
  const echo = meta.request.prompt?.echo === true;
  const choices = answers.flatMap((answer) => likeliest(answer.choices, typeof n === 'number' ? n : 1));
  const usages = answers.flatMap((answer) => (answer.usage ? [answer.usage] : []));
  return {
    id: `cmpl-${meta.id}`,
    object: 'text_completion',
    created: meta.createdAt,
    model: meta.request.model,
    choices: choices.map((choice, index) => ({
      text: choice.text,
      index,
      logprobs: choice.logprobs && top !== undefined ? encodeLegacyLogprobs(choice.logprobs, top, 0, echo) : null,
      finish_reason: encodeFinishReason(choice.finishReason ?? 'stop', { calls: 0, refused: false }),
    })),
    ...(usages.length > 0 ? { usage: encodeUsage(sumUsage(usages)) } : {}),
  };
}

function likeliest(choices: Collected['choices'], n: number): Collected['choices'] {
  if (choices.length <= n) return choices;
  const meanLogprob = ({ logprobs = [] }: Collected['choices'][number]) =>
    logprobs.reduce((sum, entry) => sum + entry.logprob, 0) / Math.max(1, logprobs.length);
  return choices.toSorted((a, b) => meanLogprob(b) - meanLogprob(a)).slice(0, n);
}
