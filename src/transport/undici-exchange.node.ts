import type { Dispatcher } from 'undici';
import { abortError } from '../core/signals.ts';
import type { TransportBody, TransportResponse } from '../core/transport.ts';
import { type BodySource, PulledBody } from './body.node.ts';
import { decompressed } from './decompress.node.ts';
import { transportError } from './errors.ts';
import type { PausedAnswers } from './undici-connector.node.ts';

/**
 * One request and its answer, as undici calls it: by the handler interface that its parser speaks. The one that is
 * documented first is a layer over it, which reads every header of every answer and wraps every chunk once more.
 */
export class UndiciExchange implements Dispatcher.DispatchHandler, BodySource {
  readonly #signal: AbortSignal;
  readonly #pausedAnswers: PausedAnswers;
  readonly #resolve: (response: TransportResponse) => void;
  readonly #reject: (error: unknown) => void;
  #body: PulledBody | undefined;
  #abort: ((reason?: Error) => void) | undefined;
  #resume: (() => void) | undefined;
  #paused = false;

  constructor(
    signal: AbortSignal,
    pausedAnswers: PausedAnswers,
    resolve: (response: TransportResponse) => void,
    reject: (error: unknown) => void,
  ) {
    this.#signal = signal;
    this.#pausedAnswers = pausedAnswers;
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener('abort', this, { once: true });
  }

  /** The signal aborts. */
  handleEvent(): void {
    const error = abortError(this.#signal);
    this.#body?.fail(error);
    this.#reject(error); // at once, also while the connection is still being made
    this.#abort?.(error);
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    if (this.#signal.aborted) abort(abortError(this.#signal));
  }

  onHeaders(status: number, headers: readonly Buffer[], resume: () => void): boolean {
    if (status < 200) return true; // an interim answer; the real head follows
    this.#resume = resume;
    this.#body = new PulledBody(this);
    try {
      const body = decompressed(this.#body, headerIn(headers, 'content-encoding'));
      this.#resolve(new RawResponse(status, headers, body));
    } catch (error) {
      this.#reject(error);
    }
    return !this.#paused;
  }

  onData(chunk: Buffer): boolean {
    this.#body?.push(chunk);
    return !this.#paused;
  }

  onComplete(): void {
    this.#finish();
    this.#body?.end();
  }

  onError(error: Error): void {
    this.#finish();
    const failure = transportError(error, this.#body ? 'body' : 'head', this.#signal);
    if (this.#body) this.#body.fail(failure);
    else this.#reject(failure);
  }

  pause(): void {
    this.#paused = true;
    this.#pausedAnswers.add(this);
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#pausedAnswers.delete(this);
    this.#resume?.();
  }

  letOn(): void {
    this.#paused = false;
    this.#resume?.();
    this.#paused = this.#resume !== undefined; // it may have come to its end
  }

  abort(reason: Error): void {
    this.#abort?.(reason);
  }

  #finish(): void {
    this.#signal.removeEventListener('abort', this);
    this.#resume = undefined; // its parser is the next request's
    if (this.#paused) this.#pausedAnswers.delete(this);
  }
}

/** Of an answer's headers mostly one is asked for, so they stay as they came until somebody wants all. */
class RawResponse implements TransportResponse {
  readonly status: number;
  readonly body: TransportBody;
  readonly #raw: readonly Buffer[];
  #headers: Record<string, string> | undefined;

  constructor(status: number, raw: readonly Buffer[], body: TransportBody) {
    this.status = status;
    this.#raw = raw;
    this.body = body;
  }

  get contentType(): string {
    return headerIn(this.#raw, 'content-type') ?? '';
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= plainHeaders(this.#raw);
    return this.#headers;
  }
}

/** The first header of that lower-case name among `[name, value, …]`. */
function headerIn(raw: readonly Buffer[], wanted: string): string | undefined {
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at];
    if (name?.length === wanted.length && name.toString('latin1').toLowerCase() === wanted)
      return raw[at + 1]?.toString('latin1');
  }
  return undefined;
}

function plainHeaders(raw: readonly Buffer[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]?.toString('latin1').toLowerCase() ?? '';
    const value = raw[at + 1]?.toString('latin1') ?? '';
    headers[name] = Object.hasOwn(headers, name) ? `${headers[name]}, ${value}` : value;
  }
  return headers;
}
