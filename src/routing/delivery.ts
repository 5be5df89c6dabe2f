import { type ByteLog, createByteLog } from '../core/byte-log.ts';
import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent, Usage } from '../core/event.ts';
import type { ChatRequest, Dialect } from '../core/request.ts';
import { abortError } from '../core/signals.ts';
import { createDelivered, type Delivered } from './delivered.ts';
import type { AnswerOrder, Opened, Opening, OpeningDeps } from './opening.ts';
import type { Rest } from './takeover.ts';

/** What the bytes of a broken pass-through answer said; given by the composition root, because routing knows no wire. */
export type DecodeWire = (dialect: Dialect, bytes: Uint8Array) => readonly CompletionEvent[] | undefined;

export interface AnswerDeps extends OpeningDeps {
  readonly decodeWire: DecodeWire | undefined;
  /** Sees every event that leaves, for the shadow. */
  readonly watch: ((event: CompletionEvent) => void) | undefined;
  /** Called once, when the answer has ended, whichever way. */
  readonly ended: (error: GatewayError | undefined) => void;
}

/** One for all: making an error writes down the stack, which costs more than the rest of ending an answer. */
const nobodyReads = new GatewayError('cancelled', 'Nobody reads the answer any more.');

/** One answer on its way: who makes it just now, what has left so far, and its end, which comes once. */
export class Delivery {
  readonly order: AnswerOrder;
  readonly deps: AnswerDeps;
  readonly opening: Opening;
  current: Opened;
  /** Somebody pulls: from then on the one who pulls ends it. */
  started = false;
  closed = false;
  /** The client is getting bytes that nobody has read. */
  unread = false;
  usage: Usage | undefined;
  usageSent = false;
  #delivered: Delivered | undefined;
  #wire: ByteLog | undefined;

  constructor(order: AnswerOrder, deps: AnswerDeps, opening: Opening, opened: Opened) {
    this.order = order;
    this.deps = deps;
    this.opening = opening;
    this.current = opened;
    order.signal.addEventListener('abort', this, { once: true });
  }

  /** The signal aborts. */
  handleEvent(): void {
    if (!this.started) this.close(abortError(this.order.signal));
  }

  get delivered(): Delivered {
    this.#delivered ??= createDelivered(this.order.rules.takeover.maxBytes);
    return this.#delivered;
  }

  /** The bytes that went out unread, for the case that somebody must go on from them. */
  get wire(): ByteLog {
    this.#wire ??= createByteLog(this.order.rules.takeover.maxBytes);
    return this.#wire;
  }

  /** Writes down what leaves; false for what stays here. */
  passes(event: CompletionEvent): boolean {
    if (event.type === 'usage') {
      this.usage = event.usage;
      if (!this.unread) return false; // goes out last, with what others may add
      this.usageSent = true;
    } else if (event.type === 'wire') {
      this.unread = true;
      this.wire.push(event.bytes);
    } else if (!this.unread) this.delivered.push(event);
    this.deps.watch?.(event);
    return true;
  }

  /** The current call did what it was asked for. */
  succeeded(): void {
    const { planned, call } = this.current;
    call.succeed();
    this.opening.report(planned, undefined, call.ttftMs);
  }

  get isCutShort(): boolean {
    return !this.unread && unfinished(this.order.request, this.delivered, undefined) > 0;
  }

  /** The answer is complete. */
  ended(): void {
    this.closed = true;
    this.#wire?.release();
    this.order.signal.removeEventListener('abort', this);
    this.deps.ended(undefined);
  }

  /** It broke, or nobody wants the rest. */
  close(error?: GatewayError): void {
    if (this.closed) return;
    this.closed = true;
    this.#wire?.release();
    this.order.signal.removeEventListener('abort', this);
    this.current.call.cancel(error ?? nobodyReads);
    this.deps.ended(error);
  }
}

/** Choices that the call should have finished and has not. */
export function unfinished({ choices }: ChatRequest, delivered: Delivered, rest: Rest | undefined): number {
  if (rest) return delivered.choices.get(rest.choice)?.finished ? 0 : 1;
  let open = 0;
  for (let choice = 0; choice < choices; choice++) if (!delivered.choices.get(choice)?.finished) open += 1;
  return open;
}

/** An upstream that ended cleanly, but not its answer. */
export const cutShort = (target: string): GatewayError =>
  new GatewayError('upstream_failed', `${target} ended in the middle of its answer.`);

/** The failure with all that was tried. */
export const withStory = (error: GatewayError, { attempts, decisions }: Opening): GatewayError =>
  new GatewayError(error.kind, error.message, {
    cause: error.cause ?? error,
    param: error.param ?? undefined,
    code: error.code ?? undefined,
    retryAfterMs: error.retryAfterMs,
    status: error.status,
    type: error.type,
    attempts,
    decisions,
  });
