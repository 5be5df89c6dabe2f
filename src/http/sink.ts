import { anySignal, createAborter } from '../core/abort.ts';
import { GatewayError } from '../core/errors.ts';
import { headersByName } from '../core/transport.ts';
import { type AnswerHeaders, type AppContext, afterOf, type NodeResponse } from './env.ts';

/** Where an answer is written: node's response itself on Node (no `Response`, no web stream), a ReadableStream at the edge. */
export interface Sink {
  /** Aborts when the client leaves before the end, stops reading for too long, or by `abort`. */
  readonly signal: AbortSignal;
  /** True when there is nobody left to write to. */
  readonly gone: boolean;
  abort(reason: GatewayError): void;
  readonly started: boolean;
  /** As started; 499 where nothing was. */
  readonly status: number;
  start(status: number, headers: AnswerHeaders): void;
  /** A promise when the reader is slow: wait for it before the next write. */
  write(chunk: string | Uint8Array): Promise<void> | undefined;
  end(chunk?: string | Uint8Array): void;
  /** Breaks the connection, where a clean end would look like success. */
  destroy(): void;
}

/** What `work` gives: it has written the answer itself, which @hono/node-server is told by this. */
export const alreadySent = new Response(null, { headers: { 'x-hono-already-sent': 'true' } });

type Work = (sink: Sink) => Promise<typeof alreadySent>;

/** Lets `work` write the answer. What it throws before `start` is thrown; afterwards it has to tell the client itself. */
export function respond(c: AppContext, slowReaderMs: number, work: Work): Promise<Response> {
  const { outgoing } = c.env ?? {};
  return outgoing ? respondOnNode(outgoing, slowReaderMs, work) : respondAtEdge(c, slowReaderMs, work);
}

function respondOnNode(outgoing: NodeResponse, slowReaderMs: number, work: Work): Promise<Response> {
  const sink = new NodeSink(outgoing, slowReaderMs);
  outgoing.on('close', () => sink.closed());
  return work(sink);
}

/** UTF-16 units of text that wait for the turn's end. */
const longText = 16 * 1024;

/** A class for its getters: in an object literal they give every object a hidden class of its own, which is kept long. */
class NodeSink implements Sink {
  readonly #left = createAborter();
  readonly signal = this.#left.signal;
  readonly #outgoing: NodeResponse;
  readonly #slowReaderMs: number;
  /** Text of this turn of the event loop that is still here. */
  #text = '';
  #corked = false;

  constructor(outgoing: NodeResponse, slowReaderMs: number) {
    this.#outgoing = outgoing;
    this.#slowReaderMs = slowReaderMs;
  }

  get gone(): boolean {
    return this.#outgoing.destroyed;
  }

  get started(): boolean {
    return this.#outgoing.headersSent;
  }

  get status(): number {
    return this.#outgoing.headersSent ? this.#outgoing.statusCode : 499;
  }

  abort(reason: GatewayError): void {
    this.#left.abort(reason);
  }

  closed(): void {
    if (!this.#outgoing.writableFinished) {
      this.abort(new GatewayError('cancelled', 'The client closed the connection.'));
    }
  }

  start(status: number, headers: AnswerHeaders): void {
    this.#outgoing.writeHead(status, headers);
  }

  /** All that is written in one turn of the event loop leaves in one packet, the head included, and its text in one piece. */
  write(chunk: string | Uint8Array): Promise<void> | undefined {
    const outgoing = this.#outgoing;
    if (outgoing.destroyed) return undefined;
    if (!this.#corked) {
      this.#corked = true;
      outgoing.cork();
      queueMicrotask(() => this.#uncork());
    }
    if (typeof chunk === 'string') {
      this.#text += chunk;
      if (this.#text.length > longText) this.#flush();
    } else {
      this.#flush();
      outgoing.write(chunk);
    }
    return outgoing.writableNeedDrain ? this.#drained() : undefined;
  }

  end(chunk: string | Uint8Array = ''): void {
    if (typeof chunk !== 'string') this.#flush();
    const last = typeof chunk === 'string' ? this.#text + chunk : chunk;
    this.#text = '';
    this.#outgoing.end(last.length > 0 ? last : undefined);
  }

  destroy(): void {
    this.#outgoing.destroy();
  }

  #flush(): void {
    if (this.#text === '') return;
    const text = this.#text;
    this.#text = '';
    this.#outgoing.write(text);
  }

  #uncork(): void {
    this.#corked = false;
    if (!this.#outgoing.destroyed) this.#flush();
    this.#outgoing.uncork();
  }

  #drained(): Promise<void> {
    const outgoing = this.#outgoing;
    return new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        outgoing.off('drain', done);
        outgoing.off('close', done);
        resolve();
      };
      const timer = setTimeout(() => {
        this.abort(new GatewayError('cancelled', 'The client stopped reading.'));
        outgoing.destroy();
      }, this.#slowReaderMs);
      outgoing.once('drain', done);
      outgoing.once('close', done);
    });
  }
}

function respondAtEdge(c: AppContext, slowReaderMs: number, work: Work): Promise<Response> {
  const left = createAborter();
  const encoder = new TextEncoder();
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  let wake: (() => void) | undefined;
  let ended = false;
  let gone = false;

  return new Promise<Response>((resolve, reject) => {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          stream = controller;
        },
        pull: () => wake?.(),
        cancel: () => {
          gone = true;
          if (!ended) left.abort(new GatewayError('cancelled', 'The client closed the connection.'));
          wake?.();
        },
      },
      { highWaterMark: 64 * 1024, size: (chunk) => chunk?.byteLength ?? 0 },
    );
    const bytesOf = (chunk: string | Uint8Array) => (typeof chunk === 'string' ? encoder.encode(chunk) : chunk);
    const drained = () =>
      new Promise<void>((resume) => {
        const timer = setTimeout(() => {
          gone = true;
          left.abort(new GatewayError('cancelled', 'The client stopped reading.'));
          wake?.();
        }, slowReaderMs);
        wake = () => {
          clearTimeout(timer);
          wake = undefined;
          resume();
        };
      });
    let started = false;
    let answered = 499;
    const sink: Sink = {
      signal: anySignal([c.req.raw.signal, left.signal]),
      abort: (reason) => left.abort(reason),
      get gone() {
        return gone || c.req.raw.signal.aborted;
      },
      get started() {
        return started;
      },
      get status() {
        return answered;
      },
      start(status, headers) {
        started = true;
        answered = status;
        resolve(new Response(status === 204 ? null : body, { status, headers: headersByName(headers) }));
      },
      write(chunk) {
        if (ended || gone) return undefined;
        stream?.enqueue(bytesOf(chunk));
        return (stream?.desiredSize ?? 1) > 0 ? undefined : drained();
      },
      end(chunk) {
        if (ended || gone) return;
        if (chunk !== undefined && chunk.length > 0) stream?.enqueue(bytesOf(chunk));
        ended = true;
        stream?.close();
      },
      destroy() {
        if (ended) return;
        ended = true;
        stream?.error(new Error('The answer broke off.'));
      },
    };
    const working = work(sink).catch(reject);
    afterOf(c)?.(working); // the books are closed also when the client has left
  });
}
