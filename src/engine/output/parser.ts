import { randomId } from '../../core/clock.ts';
import type { CompletionEvent, FinishReason, TokenLogprob } from '../../core/event.ts';
import { isJson } from '../../core/json.ts';
import type { ToolCall } from '../../core/request.ts';
import { type CallScanner, createCallScanner } from './json-scanner.ts';
import type { CallSyntax } from './syntax.ts';

/** One choice's text, told as events. */
export interface OutputParser {
  push(text: string, logprobs?: readonly TokenLogprob[]): readonly CompletionEvent[];
  /** What is still held, and the finish. Nothing of what the model wrote is lost. */
  finish(reason: FinishReason, stopSequence?: string): readonly CompletionEvent[];
  /** Tokens that were thinking, as far as pieces tell. */
  readonly reasoningPieces: number;
}

export interface ParserOptions {
  readonly choice: number;
  /** Absent: no calls are looked for. */
  readonly calls?: {
    readonly syntax: CallSyntax;
    readonly isTool: (name: string) => boolean;
    readonly kindOf: (name: string) => ToolCall['kind'];
    /** The answer is a call from its first character, without `open` in front where the syntax has none. */
    readonly forced: boolean;
    /** Calls delivered by an earlier target, and whether the last one is still open. */
    readonly delivered: readonly ToolCall[];
  };
  /** The marks of thinking, and whether the prompt already opened it. */
  readonly thinking?: { readonly open: string; readonly close: string; readonly begun: boolean };
}

/**
 * Finds thinking and calls in what a model writes. Text is held back only while it may still become a mark. What looks
 * like a call and turns out to be none is given back as text.
 */
export function createOutputParser({ choice, calls, thinking }: ParserOptions): OutputParser {
  let held = '';
  let heldLogprobs: TokenLogprob[] = [];
  let mode: 'start' | 'thinking' | 'text' | 'call' = thinking?.begun ? 'thinking' : 'start';
  let scanner: CallScanner | undefined;
  let callText = ''; // everything since the call's open mark, in case it is none
  let announced = false;
  let input = ''; // of a custom tool, until it is whole
  let index = calls?.delivered.length ?? 0;
  let reasoningPieces = 0;
  let trimming = false; // blanks after a mark are layout
  let events: CompletionEvent[] = [];

  const text = (value: string) => {
    if (value === '') return;
    const logprobs = heldLogprobs;
    heldLogprobs = [];
    events.push({ type: 'text-delta', choice, text: value, ...(logprobs.length > 0 ? { logprobs } : {}) });
  };
  const reasoning = (value: string) => {
    if (value === '') return;
    heldLogprobs = [];
    events.push({ type: 'reasoning-delta', choice, text: value });
  };

  const openMark = calls?.syntax.open ?? '';
  const startCall = () => {
    mode = 'call';
    scanner = createCallScanner();
    callText = '';
    announced = false;
    input = '';
  };

  /** Takes what can be taken of `held`; true when it took something and there may be more. */
  const step = (): boolean => {
    if (mode === 'thinking' && thinking) return stepThinking(thinking.close);
    if (mode === 'call') return stepCall();
    if (trimming) {
      held = held.trimStart();
      if (held === '') return false;
      if (mode === 'text' && !startsMark(held)) trimming = false;
    }
    return mode === 'start' ? stepStart() : stepText();
  };

  const stepThinking = (close: string): boolean => {
    const at = held.indexOf(close);
    if (at >= 0) {
      reasoning(trimming ? held.slice(0, at).trimStart() : held.slice(0, at));
      events.push({ type: 'reasoning-end', choice });
      held = held.slice(at + close.length);
      mode = 'text';
      trimming = true;
      return held !== '';
    }
    const safe = held.length - livePrefix(held, close);
    let piece = held.slice(0, safe);
    if (trimming) {
      piece = piece.trimStart();
      if (piece !== '') trimming = false;
    }
    reasoning(piece);
    held = held.slice(safe);
    return false;
  };

  /** Nothing but blanks was written so far. */
  const stepStart = (): boolean => {
    const trimmed = held.trimStart();
    if (trimmed === '') return false;
    if (thinking && trimmed.startsWith(thinking.open)) {
      held = trimmed.slice(thinking.open.length);
      mode = 'thinking';
      trimming = true;
      return true;
    }
    if (thinking?.open.startsWith(trimmed)) return false;
    if (calls && openMark === '' && (calls.forced || trimmed.startsWith('{'))) {
      startCall();
      held = trimmed;
      return true;
    }
    if (calls && startsMark(trimmed)) {
      if (!trimmed.startsWith(openMark)) return false;
      held = trimmed;
    }
    mode = 'text';
    return true;
  };

  const stepText = (): boolean => {
    if (!calls || openMark === '') {
      text(held);
      held = '';
      return false;
    }
    const at = held.indexOf(openMark);
    if (at >= 0) {
      const before = held.slice(0, at);
      if (before.trim() !== '') text(before);
      held = held.slice(at + openMark.length);
      startCall();
      return true;
    }
    const safe = held.length - livePrefix(held, openMark);
    text(held.slice(0, safe));
    held = held.slice(safe);
    return false;
  };

  const startsMark = (value: string) => openMark !== '' && (value.startsWith(openMark) || openMark.startsWith(value));

  const stepCall = (): boolean => {
    if (!calls || !scanner) return false;
    const { syntax } = calls;
    if (!callText.includes('{')) {
      // Layout between the mark, or the call before, and the object.
      const layout = syntax.array ? /^[\s,]*\[?\s*/ : between ? /^[\s;,]*/ : /^\s*/;
      const skip = layout.exec(held)?.[0] ?? '';
      callText += skip;
      held = held.slice(skip.length);
      if (held === '') return false;
      if (held[0] !== '{') return notACall();
    }
    const taken = held;
    const rest = scanner.push(taken);
    callText += rest === undefined ? taken : taken.slice(0, taken.length - rest.length);
    held = rest ?? '';
    if (!announced && scanner.name !== undefined) {
      if (!calls.isTool(scanner.name)) return rest === undefined && scanner.sound ? false : notACall();
      announced = true;
      events.push({
        type: 'tool-call-start',
        choice,
        index,
        id: randomId('call_'),
        name: scanner.name,
        kind: calls.kindOf(scanner.name),
      });
    }
    if (announced) giveArguments();
    if (rest === undefined) return scanner.sound || announced ? false : notACall();
    if (!announced) return notACall();
    endCall();
    return held !== '';
  };

  const giveArguments = () => {
    const piece = scanner?.takeArguments() ?? '';
    const name = scanner?.name;
    if (piece === '' || name === undefined) return;
    heldLogprobs = [];
    if (calls?.kindOf(name) === 'custom') input += piece;
    else {
      const trimmed = input === '' ? piece.trimStart() : piece;
      input = 'begun';
      if (trimmed !== '') events.push({ type: 'tool-call-delta', choice, index, arguments: trimmed });
    }
  };

  const endCall = () => {
    const name = scanner?.name;
    if (name !== undefined && calls?.kindOf(name) === 'custom') {
      events.push({ type: 'tool-call-delta', choice, index, arguments: customInput(input) });
    }
    index++;
    scanner = undefined;
    callText = '';
    mode = 'text';
    trimming = true;
    const close = calls?.syntax.close ?? '';
    closing = close;
    if (calls?.syntax.array || openMark === '') mode = 'call';
    if (mode === 'call') {
      scanner = createCallScanner();
      announced = false;
      input = '';
      between = true;
    }
  };
  let closing = '';
  let between = false; // after a call of a syntax without close mark: another object may come, or the end

  const notACall = (): boolean => {
    const whole = `${index > 0 && between ? '' : openMark}${callText}${held}`;
    held = '';
    callText = '';
    scanner = undefined;
    mode = 'text';
    if (between && /^[\s\];,]*$/.test(whole)) return false;
    text(whole);
    return false;
  };

  /** The answer has to be a call and none has begun: what is held is the mark's beginning. */
  const forcedFirst = () => calls?.forced === true && index === 0;

  /**
   * Characters at the end that are a mark cut off by the token limit: no text that anybody meant. Less than a third of a
   * mark may be a comparison or a tag, and stays.
   */
  const markFragment = (): number => {
    const marks =
      mode === 'thinking' ? [thinking?.close ?? ''] : [openMark, mode === 'start' ? (thinking?.open ?? '') : ''];
    return Math.max(
      ...marks.map((mark) => {
        const length = livePrefix(held, mark);
        return length * 3 > mark.length ? length : 0;
      }),
    );
  };

  /** Drops a close mark, and holds what may become one. */
  const dropClose = () => {
    if (closing === '' || mode === 'call') return;
    const trimmed = held.trimStart();
    if (trimmed.startsWith(closing)) {
      held = trimmed.slice(closing.length);
      closing = '';
      trimming = true;
    } else if (trimmed !== '' && !closing.startsWith(trimmed)) closing = '';
  };

  const run = () => {
    for (let more = true; more; ) {
      dropClose();
      if (closing !== '' && mode !== 'call' && closing.startsWith(held.trimStart())) return;
      more = step();
    }
  };

  if (calls && calls.delivered.length > 0) {
    const last = calls.delivered.at(-1);
    if (last && !isJson(last.arguments) && last.kind === 'function') {
      // The last call is still open: its start and first arguments are with the client already.
      index = calls.delivered.length - 1;
      mode = 'call';
      scanner = createCallScanner();
      callText = `{"name": ${JSON.stringify(last.name)}, "${calls.syntax.argumentsKey}": ${last.arguments}`;
      scanner.push(callText);
      scanner.takeArguments();
      announced = true;
      input = 'begun';
    } else {
      mode = 'text';
      trimming = true;
    }
  }

  return {
    get reasoningPieces() {
      return reasoningPieces;
    },
    push(value, logprobs) {
      events = [];
      held += value;
      if (logprobs) heldLogprobs.push(...logprobs);
      if (mode === 'thinking') reasoningPieces++;
      run();
      return events;
    },
    finish(reason, stopSequence) {
      events = [];
      let called = index > (calls?.delivered.length ?? 0) || (calls?.delivered.length ?? 0) > 0;
      const fragment = reason === 'length' ? markFragment() : 0;
      if (mode === 'thinking') {
        reasoning(held.slice(0, held.length - fragment));
        events.push({ type: 'reasoning-end', choice });
      } else if (mode === 'call' && announced) {
        called = true; // cut inside a call
        const name = scanner?.name;
        if (name !== undefined && calls?.kindOf(name) === 'custom' && input !== '') {
          events.push({ type: 'tool-call-delta', choice, index, arguments: customInput(input) });
        }
      } else if (mode === 'call') {
        // Cut before the function's name: nothing can be told of the call. Bare JSON may have been the answer itself.
        const cutCall = reason === 'length' && (openMark !== '' || calls?.forced === true);
        if (!cutCall && !forcedFirst()) notACall();
      } else if (closing === '' || !closing.startsWith(held.trimStart())) {
        const rest = forcedFirst() ? '' : held.slice(0, held.length - fragment);
        if (!(trimming && rest.trim() === '')) text(rest);
      }
      held = '';
      const told = reason === 'stop' && called ? 'tool-calls' : reason;
      const tail: CompletionEvent = {
        type: 'finish',
        choice,
        reason: told,
        ...(stopSequence === undefined || told === 'tool-calls' ? {} : { stopSequence }),
      };
      return [...events, tail];
    },
  };
}

/** How many of the last characters of `text` may be the beginning of `mark`. */
function livePrefix(text: string, mark: string): number {
  for (let length = Math.min(text.length, mark.length - 1); length > 0; length--) {
    if (mark.startsWith(text.slice(-length))) return length;
  }
  return 0;
}

/** The free text of a custom tool, which travels as `{"input": "…"}`. */
function customInput(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'string') return value;
    if (typeof value === 'object' && value !== null && 'input' in value) return String(value.input);
    return text;
  } catch {
    return text;
  }
}
