import { createAborter } from '../core/abort.ts';
import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import { totalTimeout } from './call.ts';

/** One signal for a whole answer: the client's, the route's total deadline, and a shutdown. */
export class Scope {
  readonly signal: AbortSignal;
  readonly abort: (reason: GatewayError) => void;
  readonly #client: AbortSignal;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: AbortSignal, totalMs: number) {
    const { signal, abort } = createAborter();
    this.signal = signal;
    this.abort = abort;
    this.#client = client;
    if (client.aborted) this.handleEvent();
    else client.addEventListener('abort', this, { once: true });
    if (totalMs <= 0) return;
    this.#timer = setTimeout(() => {
      abort(new GatewayError('timeout', `The answer took longer than ${totalMs} ms.`, { code: totalTimeout }));
    }, totalMs);
  }

  /** The client leaves. */
  handleEvent(): void {
    this.abort(abortError(this.#client));
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#client.removeEventListener('abort', this);
  }
}
