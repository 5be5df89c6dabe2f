import type { FinishReason, TokenLogprob, Usage } from '../../core/event.ts';
import { type Json, parseObject } from '../../core/json.ts';
import type { ToolCall } from '../../core/request.ts';
import type { Collected } from '../../core/streams.ts';
import type { AnswerMeta, StreamEncoder } from '../format.ts';
import { encodeLogprobs } from '../openai/encode.ts';
import { imageNote, imageNotes, isImage } from '../openai/images.ts';
import { encodeParts } from '../openai/usage.ts';
import { encodeOllamaError } from './errors.ts';

export const ndjson = 'application/x-ndjson';
const line = (value: object): string => `${JSON.stringify(value)}\n`;

/** Chat's parts hold a message, generate's a text; all else is alike. */
type Shape = 'chat' | 'generate';

interface Piece {
  readonly text?: string;
  readonly thinking?: string;
  readonly calls?: readonly ToolCall[];
  readonly logprobs?: readonly TokenLogprob[];
}

/** Lines of JSON; tool calls go out whole, with their arguments as an object, as Ollama's clients want them. */
export function createOllamaEncoder(shape: Shape, meta: AnswerMeta, now: () => number = Date.now): StreamEncoder {
  const calls: ToolCall[] = [];
  const startedMs = now();
  let finish: FinishReason = 'stop';
  let usage: Usage | undefined;
  let sent = 0;

  const flushCalls = (): string => {
    const whole = calls.slice(sent);
    sent = calls.length;
    return whole.length === 0 ? '' : line(part(shape, meta, now(), { calls: whole }));
  };

  return {
    push(event) {
      if ('choice' in event && event.choice !== 0) return '';
      switch (event.type) {
        case 'text-delta':
        case 'refusal-delta': {
          const logprobs = event.type === 'text-delta' && event.logprobs ? { logprobs: event.logprobs } : {};
          return event.text === '' ? '' : line(part(shape, meta, now(), { text: event.text, ...logprobs }));
        }
        case 'annotation':
          return isImage(event.annotation) ? line(part(shape, meta, now(), { text: imageNote })) : '';
        case 'reasoning-delta':
          return event.text === '' ? '' : line(part(shape, meta, now(), { thinking: event.text }));
        case 'tool-call-start':
          calls[event.index] = { id: event.id, kind: event.kind, name: event.name, arguments: '' };
          return '';
        case 'tool-call-delta': {
          const call = calls[event.index];
          if (call) calls[event.index] = { ...call, arguments: call.arguments + event.arguments };
          return '';
        }
        case 'finish':
          finish = event.reason;
          return flushCalls();
        case 'usage':
          usage = event.usage;
          return '';
        default:
          return '';
      }
    },
    end: () => flushCalls() + line(last(shape, meta, now(), {}, finish, usage, now() - startedMs)),
    error: (error) => line(encodeOllamaError(error)),
  };
}

/** A whole answer in the shape of its endpoint, with the durations that Ollama tells (nanoseconds). */
export function encodeOllama(shape: Shape, collected: Collected, meta: AnswerMeta): object {
  const choice = collected.choices[0];
  const thinking = choice?.reasoning.map((block) => block.text).join('') ?? '';
  const piece = {
    text: (choice?.text ?? '') + imageNotes(choice?.annotations) + (choice?.refusal ?? ''),
    ...(thinking === '' ? {} : { thinking }),
    ...(choice && choice.toolCalls.length > 0 ? { calls: choice.toolCalls } : {}),
    ...(choice?.logprobs ? { logprobs: choice.logprobs } : {}),
  };
  const durationMs = Math.max(0, Date.now() - meta.createdAt * 1000);
  return last(shape, meta, Date.now(), piece, choice?.finishReason ?? 'stop', collected.usage, durationMs);
}

function part(shape: Shape, meta: AnswerMeta, nowMs: number, piece: Piece) {
  const { text = '', thinking, calls, logprobs } = piece;
  const asked = meta.request.answer?.['model'];
  const head = {
    model: typeof asked === 'string' ? asked : meta.request.model,
    created_at: new Date(nowMs).toISOString(),
  };
  const thought = thinking === undefined ? {} : { thinking };
  const content =
    shape === 'generate'
      ? { response: text, ...thought }
      : {
          message: {
            role: 'assistant',
            content: text,
            ...thought,
            ...(calls ? { tool_calls: calls.map(encodeCall) } : {}),
          },
        };
  return { ...head, ...content, done: false, ...(logprobs ? { logprobs: encodeLogprobs(logprobs).content } : {}) };
}

function last(
  shape: Shape,
  meta: AnswerMeta,
  nowMs: number,
  piece: Piece,
  reason: FinishReason,
  usage: Usage | undefined,
  durationMs: number,
) {
  const ns = (ms: number | undefined) => Math.max(0, Math.round((ms ?? 0) * 1e6));
  const prefillMs = usage?.prefillMs;
  return {
    ...part(shape, meta, nowMs, piece),
    done: true,
    done_reason: reason === 'length' ? 'length' : 'stop',
    ...(shape === 'generate' ? { context: [] } : {}),
    total_duration: ns(durationMs),
    load_duration: ns(usage?.queueMs),
    prompt_eval_count: usage?.promptTokens ?? 0,
    prompt_eval_duration: ns(prefillMs),
    eval_count: usage?.completionTokens ?? 0,
    ...(usage ? encodeParts(usage) : {}),
    eval_duration: ns(usage?.decodeMs ?? Math.max(0, durationMs - (prefillMs ?? 0))),
  };
}

function encodeCall(call: ToolCall): object {
  return { id: call.id, function: { name: call.name, arguments: inputOf(call.arguments) } };
}

const inputOf = (text: string): Json => (text === '' ? {} : (parseObject(text) ?? { input: text }));
