import { randomId } from '../../core/clock.ts';
import type { GatewayError } from '../../core/errors.ts';
import type { CompletionEvent, FinishReason, TokenLogprob, Usage } from '../../core/event.ts';
import type { Collected, CollectedChoice } from '../../core/streams.ts';
import type { StreamEncoder } from '../format.ts';
import { encodeSse, sseDone } from '../sse.ts';
import { encodeError } from './errors.ts';
import { isImage } from './images.ts';
import { encodeUsage } from './usage.ts';

/** What is the same in every chunk of an answer, and how the client wants it. */
export interface ChatAnswer {
  /** `chatcmpl-…` */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  /** The public model name, as asked for. */
  readonly model: string;
  readonly serviceTier?: string;
  readonly includeUsage?: boolean;
  readonly includeObfuscation?: boolean;
  readonly legacyFunctions?: boolean;
}

interface OpenChoice {
  /** The chunk around a text delta, ready but for the text. */
  readonly before: string;
  calls: number;
  refused: boolean;
  finished: boolean;
  kinds: ('function' | 'custom')[];
}

/** As `n` may ask for; an upstream's wild index opens no others. */
const mostChoices = 128;

/** The chunks of a streamed chat answer, in the order and form of reference/openai-api.md section 2.2. */
export function createChatEncoder(asked: ChatAnswer): StreamEncoder {
  let answer = asked;
  const choices: OpenChoice[] = [];
  let usage: Usage | undefined;
  let fingerprint: string | undefined;
  let head = '';
  const noUsage = answer.includeUsage ? ',"usage":null' : '';

  /** Until the first chunk is out the upstream may still tell its fingerprint; then it is fixed. */
  const headOf = (): string => {
    if (head === '') {
      const fields = JSON.stringify({
        id: answer.id,
        object: 'chat.completion.chunk',
        created: answer.created,
        model: answer.model,
        ...(answer.serviceTier === undefined ? {} : { service_tier: answer.serviceTier }),
        ...(fingerprint === undefined ? {} : { system_fingerprint: fingerprint }),
      });
      head = `${fields.slice(0, -1)},"choices":[`;
    }
    return head;
  };
  const padding = (length: number) =>
    answer.includeObfuscation ? `,"obfuscation":"${randomId('', 16 - (length % 16))}"` : '';
  const chunk = (
    choice: number,
    delta: object,
    logprobs: object | null = null,
    reason: string | null = null,
    why: object = {},
  ) => {
    const body = `${JSON.stringify({ index: choice, delta, logprobs, finish_reason: reason, ...why })}`;
    return encodeSse(`${headOf()}${body}]${noUsage}${padding(body.length)}}`);
  };

  /**
   * The choice, and the role chunk if this is its first event. Those of lower choices come before it, whichever of them
   * speaks first: openai-python's stream helper counts choices in the order in which they begin.
   */
  const open = (index: number): { choice: OpenChoice; role: string } => {
    const known = choices[index];
    if (known) return { choice: known, role: '' };
    const lower = index > 0 && index < mostChoices ? open(index - 1).role : '';
    const choice: OpenChoice = {
      before: `data: ${headOf()}{"index":${index},"delta":{"content":`,
      calls: 0,
      refused: false,
      finished: false,
      kinds: [],
    };
    choices[index] = choice;
    return { choice, role: lower + chunk(index, { role: 'assistant', content: '', refusal: null }) };
  };
  const after = `},"logprobs":null,"finish_reason":null}]${noUsage}`;

  const callStart = (event: Extract<CompletionEvent, { type: 'tool-call-start' }>): object => {
    const { index, id, name, kind } = event;
    if (answer.legacyFunctions) return { function_call: { name, arguments: '' } };
    if (kind === 'custom') return { tool_calls: [{ index, id, type: 'custom', custom: { name, input: '' } }] };
    return { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] };
  };
  const callDelta = (choice: OpenChoice, index: number, text: string): object => {
    if (answer.legacyFunctions) return { function_call: { arguments: text } };
    if (choice.kinds[index] === 'custom') return { tool_calls: [{ index, custom: { input: text } }] };
    return { tool_calls: [{ index, function: { arguments: text } }] };
  };

  /** The client has an upstream's own chunks so far: the rest bears their id, and counts choices and calls on. */
  const resume = (delivered: readonly CompletionEvent[]) => {
    for (const event of delivered) {
      if (event.type === 'start') {
        const { id = answer.id, model = answer.model, created = answer.created } = event;
        answer = { ...answer, id, model, created };
      }
      encoder.push(event); // for what it remembers; the client has the text
    }
  };

  const encoder: StreamEncoder = {
    push(event) {
      switch (event.type) {
        case 'start':
          fingerprint = event.fingerprint; // of no use once the head is made
          return '';
        case 'text-delta': {
          const { choice, role } = open(event.choice);
          if (event.logprobs) {
            return role + chunk(event.choice, { content: event.text }, encodeLogprobs(event.logprobs));
          }
          if (event.text === '') return role;
          return `${role}${choice.before}${JSON.stringify(event.text)}${after}${padding(event.text.length)}}\n\n`;
        }
        case 'reasoning-delta':
          return open(event.choice).role + chunk(event.choice, { reasoning_content: event.text });
        case 'refusal-delta': {
          const { choice, role } = open(event.choice);
          choice.refused = true;
          return role + chunk(event.choice, { refusal: event.text });
        }
        case 'tool-call-start': {
          const { choice, role } = open(event.choice);
          choice.calls++;
          choice.kinds[event.index] = event.kind;
          return role + chunk(event.choice, callStart(event));
        }
        case 'tool-call-delta': {
          const { choice, role } = open(event.choice);
          if (event.arguments === '') return role;
          return role + chunk(event.choice, callDelta(choice, event.index, event.arguments));
        }
        case 'annotation':
          return (
            open(event.choice).role +
            chunk(event.choice, { [isImage(event.annotation) ? 'images' : 'annotations']: [event.annotation] })
          );
        case 'finish': {
          const { choice, role } = open(event.choice);
          if (choice.finished) return role;
          choice.finished = true;
          const reason = encodeFinishReason(event.reason, choice, answer.legacyFunctions);
          return role + chunk(event.choice, {}, null, reason, finishMessage(event.detail));
        }
        case 'usage':
          usage = event.usage;
          return '';
        case 'takeover':
          if (event.delivered) resume(event.delivered);
          return '';
        case 'reasoning-end':
        case 'progress':
          return '';
        case 'wire': // http sends these bytes itself
          return '';
        default:
          return event satisfies never;
      }
    },
    end() {
      if (!answer.includeUsage || !usage) return sseDone;
      return `${encodeSse(`${headOf()}],"usage":${JSON.stringify(encodeUsage(usage))}}`)}${sseDone}`;
    },
    error: encodeChatFailure,
  };
  return encoder;
}

/** The error as the stream's last event: the one form that every SDK raises. */
const encodeChatFailure = (error: GatewayError): string => encodeSse(JSON.stringify(encodeError(error)));

/**
 * `tool_calls` whenever there are calls and never without: agents loop on either mistake. A refusal in the model's own
 * words is a normal stop, one without words a content filter.
 */
export function encodeFinishReason(
  reason: FinishReason,
  choice: { readonly calls: number; readonly refused: boolean },
  legacyFunctions = false,
): 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'function_call' {
  switch (reason) {
    case 'length':
      return 'length';
    case 'content-filter':
      return 'content_filter';
    case 'refusal':
      return choice.refused ? 'stop' : 'content_filter';
    case 'stop':
    case 'pause':
    case 'tool-calls':
      if (choice.calls === 0) return 'stop';
      return legacyFunctions ? 'function_call' : 'tool_calls';
    default:
      return reason satisfies never;
  }
}

/** JSON has no -Infinity; OpenAI says -9999. */
const finite = (logprob: number) => (Number.isFinite(logprob) ? logprob : -9999);

/** Log-probabilities as OpenAI tells them; -9999 stands for those of no finite value. */
export function encodeLogprobs(tokens: readonly TokenLogprob[]) {
  return {
    content: tokens.map(({ token, logprob, bytes, top }) => ({
      token,
      logprob: finite(logprob),
      bytes,
      top_logprobs: top.map((one) => ({ token: one.token, logprob: finite(one.logprob), bytes: one.bytes })),
    })),
    refusal: null,
  };
}

/** The whole answer as one body. */
export function encodeChatCompletion(collected: Collected, answer: ChatAnswer) {
  const { fingerprint } = collected.upstream;
  return {
    id: answer.id,
    object: 'chat.completion',
    created: answer.created,
    model: answer.model,
    choices: collected.choices.map((choice, index) => ({
      index,
      message: encodeMessage(choice, answer.legacyFunctions),
      logprobs: choice.logprobs ? encodeLogprobs(choice.logprobs) : null,
      finish_reason: encodeFinishReason(
        choice.finishReason ?? 'stop',
        { calls: choice.toolCalls.length, refused: choice.refusal !== undefined },
        answer.legacyFunctions,
      ),
      ...finishMessage(choice.detail),
    })),
    ...(collected.usage ? { usage: encodeUsage(collected.usage) } : {}),
    ...(answer.serviceTier === undefined ? {} : { service_tier: answer.serviceTier }),
    ...(fingerprint === undefined ? {} : { system_fingerprint: fingerprint }),
  };
}

/** Why a filter or a limit of the gateway ended the answer, in words; OpenAI's own reasons cannot tell. */
const finishMessage = (detail: string | undefined) => (detail === undefined ? {} : { finish_message: detail });

function encodeMessage(choice: CollectedChoice, legacyFunctions = false) {
  const reasoning = choice.reasoning.map((block) => block.text).join('');
  const calls = choice.toolCalls;
  const first = calls[0];
  const silent = choice.text === '' && (calls.length > 0 || choice.refusal !== undefined);
  return {
    role: 'assistant',
    content: silent ? null : choice.text,
    refusal: choice.refusal ?? null,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    annotations: choice.annotations.filter((annotation) => !isImage(annotation)),
    ...(choice.annotations.some(isImage) ? { images: choice.annotations.filter(isImage) } : {}),
    ...(first && legacyFunctions ? { function_call: { name: first.name, arguments: first.arguments } } : {}),
    ...(first && !legacyFunctions ? { tool_calls: calls.map(encodeToolCall) } : {}),
  };
}

/** A whole tool call as OpenAI writes it. */
export function encodeToolCall(call: CollectedChoice['toolCalls'][number]) {
  return call.kind === 'custom'
    ? { id: call.id, type: 'custom', custom: { name: call.name, input: call.arguments } }
    : { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } };
}
