import { randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { CompletionEvent, FinishReason, TokenLogprob, Usage } from '../../core/event.ts';
import { indexOf, isJsonObject, type Json, type JsonObject, maybeObject, stringOf } from '../../core/json.ts';
import { streamError } from '../upstream-error.ts';
import { decodeImages } from './images.ts';
import { decodeReasoningDetails } from './reasoning-details.ts';
import { sourcesOf } from './sources.ts';
import { decodeUsage } from './usage.ts';

/**
 * Reads an upstream's chat stream, loosely: only what we use, nulls allowed, and repairs what is surely meant (missing
 * tool index or id, whole or object arguments, repeated names and roles, usage anywhere, either name for reasoning).
 * An error object inside the stream is thrown. One decoder per stream; `end` after the last chunk gives the usage, or
 * throws upstream_failed if the answer never finished.
 */
export interface ChatChunkDecoder {
  push(chunk: unknown): CompletionEvent[];
  end(): CompletionEvent[];
  /** Every choice begun has its finish reason. */
  finished(): boolean;
}

export interface ChatDecoderOptions {
  /** Not every chunk is shown: that no tool call was seen does not mean that there was none. */
  readonly partial?: boolean;
  /** The answer may begin inside a call that the request gave: arguments without a name go on with it. */
  readonly insideCall?: boolean;
}

interface Call {
  readonly index: number;
  id: string | undefined;
  name: string;
  /** Arguments that came before the name. */
  early: string;
  readonly kind: 'function' | 'custom';
  started: boolean;
}

interface Choice {
  readonly calls: Call[];
  /** The last call of each index, and the first of each id. */
  readonly named: Map<number | string, Call>;
  finished: boolean;
}

export function createChatChunkDecoder({
  partial = false,
  insideCall = false,
}: ChatDecoderOptions = {}): ChatChunkDecoder {
  const choices = new Map<number, Choice>();
  let started = false;
  let usage: Usage | undefined;
  let sources: readonly JsonObject[] = [];

  const callDeltas = (index: number, choice: Choice, delta: JsonObject, out: CompletionEvent[]) => {
    const legacy = maybeObject(delta['function_call']);
    const raw = Array.isArray(delta['tool_calls']) ? (delta['tool_calls'] as readonly Json[]) : []; // by isArray
    const pieces = legacy ? [{ index: 0, function: legacy } as JsonObject, ...raw] : raw;
    for (const piece of pieces) {
      if (!isJsonObject(piece)) continue;
      const body = maybeObject(piece['function']) ?? maybeObject(piece['custom']) ?? {};
      const call = callOf(choice, piece, body);
      const name = stringOf(body['name']);
      if (!call.started && name && call.name === '') call.name = name;
      const argument = argumentText(body['arguments'] ?? body['input']);
      if (!call.started && call.name === '' && insideCall && choice.calls.length === 1) call.started = true;
      if (!call.started && call.name === '') {
        call.early += argument;
        continue;
      }
      if (!call.started) {
        call.started = true;
        call.id ??= randomId('call_');
        const { id, kind } = call;
        out.push({ type: 'tool-call-start', choice: index, index: call.index, id, name: call.name, kind });
      }
      const text = call.early + argument;
      call.early = '';
      if (text !== '') out.push({ type: 'tool-call-delta', choice: index, index: call.index, arguments: text });
    }
  };

  const choiceDelta = (raw: JsonObject, out: CompletionEvent[]) => {
    const index = indexOf(raw['index']) ?? 0;
    const choice = choices.get(index) ?? { calls: [], named: new Map(), finished: false };
    choices.set(index, choice);
    const delta = maybeObject(raw['delta']) ?? maybeObject(raw['message']) ?? {};
    if (!choice.finished) {
      const details = decodeReasoningDetails(index, delta['reasoning_details']);
      const reasoning = details.some(({ type }) => type === 'reasoning-delta') ? '' : reasoningText(delta); // told twice
      if (reasoning !== '') out.push({ type: 'reasoning-delta', choice: index, text: reasoning });
      out.push(...details);
      const text = contentText(delta['content']) || stringOf(raw['text']) || '';
      const logprobs = decodeLogprobs(maybeObject(raw['logprobs']));
      if (text !== '' || logprobs) {
        out.push({ type: 'text-delta', choice: index, text, ...(logprobs ? { logprobs } : {}) });
      }
      const refusal = stringOf(delta['refusal']);
      if (refusal) out.push({ type: 'refusal-delta', choice: index, text: refusal });
      callDeltas(index, choice, delta, out);
      if (delta['images']) out.push(...decodeImages(index, delta['images']));
      const annotations = delta['annotations'];
      if (Array.isArray(annotations)) {
        for (const annotation of annotations as readonly Json[])
          out.push({ type: 'annotation', choice: index, annotation }); // by isArray
      }
    }
    const reason = stringOf(raw['finish_reason']);
    if (reason && !choice.finished) {
      choice.finished = true;
      for (const annotation of sources) out.push({ type: 'annotation', choice: index, annotation });
      const called = choice.calls.some((call) => call.started) || (partial && toolReasons.has(reason));
      out.push({ type: 'finish', choice: index, reason: decodeFinishReason(reason, called) });
    }
  };

  const finished = () => choices.size > 0 && [...choices.values()].every((choice) => choice.finished);

  return {
    finished,
    push(chunk) {
      if (!isJsonObject(chunk)) throw malformed();
      const failure = upstreamErrorIn(chunk);
      if (failure) throw failure;
      const out: CompletionEvent[] = [];
      if (!started) {
        started = true;
        out.push(startOf(chunk));
      }
      usage = decodeUsage(chunk) ?? usage;
      sources = sourcesOf(chunk) ?? sources;
      const raw = chunk['choices'];
      if (Array.isArray(raw)) for (const one of raw) if (isJsonObject(one)) choiceDelta(one, out);
      return out;
    },
    end() {
      if (!finished()) {
        throw new GatewayError('upstream_failed', 'The upstream ended its answer without a finish reason.');
      }
      return usage ? [{ type: 'usage', usage }] : [];
    },
  };
}

/** A whole chat completion as the same events that a stream of it would have given. */
export function decodeChatCompletion(body: unknown): CompletionEvent[] {
  const decoder = createChatChunkDecoder();
  return [...decoder.push(body), ...decoder.end()];
}

/** The upstream’s own id, model, fingerprint and time, as far as the chunk tells them. */
export function startOf(chunk: JsonObject): CompletionEvent {
  const start: { -readonly [K in keyof StartEvent]: StartEvent[K] } = { type: 'start' };
  const [id, model, fingerprint] = [
    stringOf(chunk['id']),
    stringOf(chunk['model']),
    stringOf(chunk['system_fingerprint']),
  ];
  if (id) start.id = id;
  if (model) start.model = model;
  if (fingerprint) start.fingerprint = fingerprint;
  if (typeof chunk['created'] === 'number') start.created = chunk['created'];
  return start;
}
type StartEvent = Extract<CompletionEvent, { readonly type: 'start' }>;

/** An answer that is no completion. */
export const malformed = () =>
  new GatewayError('upstream_failed', 'The upstream sent something that is no chat completion.');

/** The call a delta belongs to: by index, by id, else the last one; a new id under an old index is a new call. */
function callOf({ calls, named }: Choice, piece: JsonObject, body: JsonObject): Call {
  const slot = indexOf(piece['index']);
  const id = stringOf(piece['id']) || undefined;
  const name = slot ?? id;
  const known = name === undefined ? calls.at(-1) : named.get(name);
  const isNew =
    !known ||
    (id !== undefined && known.id !== undefined && known.id !== id && known.started) ||
    // without index and id: a second name begins a second call
    (slot === undefined && id === undefined && known.started && Boolean(stringOf(body['name'])));
  if (!isNew) {
    if (!known.started) known.id ??= id;
    if (id !== undefined && known.id === id && !named.has(id)) named.set(id, known);
    return known;
  }
  const call: Call = {
    index: calls.length,
    id,
    name: '',
    early: '',
    kind: piece['type'] === 'custom' || isJsonObject(piece['custom']) ? 'custom' : 'function',
    started: false,
  };
  calls.push(call);
  if (slot !== undefined) named.set(slot, call);
  if (id !== undefined && !named.has(id)) named.set(id, call);
  return call;
}

const toolReasons = new Set(['tool_calls', 'function_call']);

/** Servers have words of their own; `called`: the choice made a tool call. Throws `upstream_failed` for a failure. */
export function decodeFinishReason(reason: string, called: boolean): FinishReason {
  switch (reason) {
    case 'length':
    case 'max_tokens':
    case 'model_length': // Mistral: the context is full
    case 'model_context_window_exceeded': // Z.ai
      return 'length';
    case 'content_filter':
    case 'sensitive': // Z.ai
      return 'content-filter';
    case 'error':
    case 'abort': // vLLM, SGLang
    case 'insufficient_system_resource': // DeepSeek
    case 'network_error': // Z.ai
      throw new GatewayError('upstream_failed', `The upstream broke its answer off (${reason}).`);
    default: // stop, tool_calls, function_call, eos, end_turn …
      return called ? 'tool-calls' : 'stop';
  }
}

const argumentText = (value: unknown): string =>
  typeof value === 'string' ? value : isJsonObject(value) ? JSON.stringify(value) : '';

/** Text, or the text parts of a list (Mistral, some vLLM builds). */
function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part) => (isJsonObject(part) && part['type'] === 'text' ? (stringOf(part['text']) ?? '') : ''))
    .join('');
}

function reasoningText(delta: JsonObject): string {
  const plain = stringOf(delta['reasoning_content']) || stringOf(delta['reasoning']);
  if (plain) return plain;
  const parts = Array.isArray(delta['content']) ? (delta['content'] as readonly Json[]) : []; // by isArray
  return parts
    .map((part) => (isJsonObject(part) && part['type'] === 'thinking' ? thinkingText(part['thinking']) : ''))
    .join('');
}
const thinkingText = (value: unknown): string => stringOf(value) ?? contentText(value);

function decodeLogprobs(logprobs: JsonObject | undefined): TokenLogprob[] | undefined {
  const content = logprobs?.['content'];
  if (!Array.isArray(content)) return undefined;
  const tokens = content.filter(isJsonObject).map((entry) => ({
    ...tokenOf(entry),
    top: (Array.isArray(entry['top_logprobs']) ? entry['top_logprobs'] : []).filter(isJsonObject).map(tokenOf),
  }));
  return tokens.length > 0 ? tokens : undefined;
}

function tokenOf(entry: JsonObject): { token: string; logprob: number; bytes: number[] | null } {
  const { token, logprob, bytes } = entry;
  return {
    token: stringOf(token) ?? '',
    logprob: typeof logprob === 'number' ? logprob : -9999,
    bytes: Array.isArray(bytes) ? bytes.filter((byte): byte is number => typeof byte === 'number') : null,
  };
}

/** An error object where a completion was due: `{error: {…}}`, `{error: "…"}`, or vLLM's `{object: "error"}`. */
export function upstreamErrorIn(body: JsonObject): GatewayError | undefined {
  const { error } = body;
  const none = error === undefined || error === null || error === false;
  return none && body['object'] !== 'error' ? undefined : streamError(body);
}
