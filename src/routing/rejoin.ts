import type { CompletionEvent, TokenLogprob } from '../core/event.ts';
import type { Delivered } from './delivered.ts';
import type { Continuation } from './takeover.ts';

/**
 * Puts a continuation's events where the broken answer stopped: its choice, its tool calls' indices, and nothing that
 * would begin the answer anew. Tool calls that it opens count on from those delivered; arguments without a start belong
 * to the call that was open, as does that call named again; what goes on with a refusal is refusal.
 */
export function rejoin(rest: Omit<Continuation, 'request'>, delivered: Delivered) {
  const { choice } = rest;
  const begun = delivered.choices.get(choice);
  const before = begun?.toolCalls.length ?? 0;
  const moved = new Map<number, number>();
  /** The call that the break cut, until somebody goes on with it. */
  let cut = rest.cutCall === undefined ? undefined : begun?.toolCalls[rest.cutCall];
  let callEcho = createEchoFilter('');
  const echo = createEchoFilter(rest.fresh ? '' : (begun?.text ?? ''));
  const textEvent = (text: string, logprobs?: readonly TokenLogprob[]): readonly CompletionEvent[] => {
    if (text === '' && !logprobs) return [];
    if (begun?.refusing && !rest.fresh) return [{ type: 'refusal-delta', choice, text }];
    return [{ type: 'text-delta', choice, text, ...(logprobs && { logprobs }) }];
  };
  let next = before;
  return (event: CompletionEvent): readonly CompletionEvent[] => {
    switch (event.type) {
      case 'text-delta': {
        const text = echo.take(event.text);
        return text === '' ? [] : textEvent(text, event.logprobs);
      }
      case 'start':
        return [];
      case 'progress':
        return [event];
      case 'tool-call-start':
        if (cut?.name === event.name) {
          moved.set(event.index, before - 1);
          if (cut.kind === 'function') callEcho = createEchoFilter(cut.arguments, 1);
          cut = undefined;
          return textEvent(echo.rest());
        }
        moved.set(event.index, next);
        return [...textEvent(echo.rest()), { ...event, choice, index: next++ }];
      case 'tool-call-delta': {
        cut = undefined;
        const index = moved.get(event.index) ?? Math.max(0, before - 1);
        const text = index === before - 1 ? callEcho.take(event.arguments) : event.arguments;
        return text === '' ? [] : [{ ...event, choice, index, arguments: text }];
      }
      case 'reasoning-delta':
      case 'reasoning-end':
      case 'refusal-delta':
      case 'annotation':
      case 'finish':
        return [...textEvent(echo.rest()), { ...event, choice }];
      default:
        return [...textEvent(echo.rest()), event];
    }
  };
}

/** A shorter beginning may well be said twice. */
const leastEcho = 16;

/** An upstream that repeats the given beginning (Mistral does) is not heard twice; what may still be a repetition waits. */
function createEchoFilter(beginning: string, least = leastEcho) {
  let echo = beginning.length >= least ? beginning : '';
  let held = '';
  const rest = (): string => {
    const text = held;
    held = '';
    echo = '';
    return text;
  };
  return {
    rest,
    take(text: string): string {
      if (echo === '') return text;
      held += text;
      if (held.length < echo.length && echo.startsWith(held)) return '';
      if (held.startsWith(echo)) held = held.slice(echo.length);
      return rest();
    },
  };
}
