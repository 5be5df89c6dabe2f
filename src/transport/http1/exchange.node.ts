import { abortError } from '../../core/signals.ts';
import type { TransportBody, TransportResponse } from '../../core/transport.ts';
import { type BodySource, PulledBody } from '../body.node.ts';
import { decompressed } from '../decompress.node.ts';
import { transportError } from '../errors.ts';
import type { AnswerHead } from './answer-head.ts';
import { AnswerParser, type AnswerReader } from './answer-parser.node.ts';

/** The connection that carries an exchange. */
export interface Carrier {
  pause(): void;
  resume(): void;
  close(): void;
}

/** One request and its answer. */
export class Http1Exchange implements AnswerReader, BodySource {
  readonly parser = new AnswerParser(this);
  readonly #signal: AbortSignal;
  readonly #resolve: (response: TransportResponse) => void;
  readonly #reject: (error: unknown) => void;
  #carrier: Carrier | undefined;
  #body: PulledBody | undefined;
  /** Nobody waits for it any more, or there is nothing left to wait for. */
  settled = false;

  constructor(signal: AbortSignal, resolve: (response: TransportResponse) => void, reject: (error: unknown) => void) {
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener('abort', this, { once: true });
  }

  /** The signal aborts. */
  handleEvent(): void {
    this.fail(abortError(this.#signal));
    this.#carrier?.close();
  }

  carriedBy(carrier: Carrier): void {
    this.#carrier = carrier;
  }

  onHead(head: AnswerHead): void {
    this.#body = new PulledBody(this);
    try {
      this.#resolve(new ParsedResponse(head, decompressed(this.#body, head.contentEncoding)));
    } catch (error) {
      this.#reject(error);
    }
  }

  onData(bytes: Buffer): void {
    const own = Buffer.allocUnsafe(bytes.length);
    own.set(bytes);
    this.#body?.push(own);
  }

  onEnd(): void {
    this.#settle();
    this.#body?.end();
  }

  /** It broke, or its connection did. */
  fail(error: unknown): void {
    if (this.settled) return;
    this.#settle();
    const failure = transportError(error, this.#body ? 'body' : 'head', this.#signal);
    if (this.#body) this.#body.fail(failure);
    else this.#reject(failure);
  }

  pause(): void {
    this.#carrier?.pause();
  }

  resume(): void {
    if (!this.settled) this.#carrier?.resume();
  }

  abort(reason: Error): void {
    if (this.settled) return;
    this.fail(reason);
    this.#carrier?.close();
  }

  #settle(): void {
    this.settled = true;
    this.#signal.removeEventListener('abort', this);
  }
}

class ParsedResponse implements TransportResponse {
  readonly status: number;
  readonly body: TransportBody;
  readonly #head: AnswerHead;
  #headers: Record<string, string> | undefined;

  constructor(head: AnswerHead, body: TransportBody) {
    this.status = head.status;
    this.#head = head;
    this.body = body;
  }

  get contentType(): string {
    return this.#head.contentType;
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= this.#head.headers();
    return this.#headers;
  }
}
