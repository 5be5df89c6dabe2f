import type { Socket } from 'node:net';
import type { Handler } from '../../http/deps.ts';
import { DirectContext, type DirectRoutes } from '../../http/direct.ts';
import { limitReader } from '../reader-limit.ts';
import { type PlainHead, PlainHeads } from './head.ts';
import { PlainResponse } from './response.ts';

/** Longer heads, and longer requests as a whole, are node:http's; in bytes. */
const longestHead = 16 * 1024;
const longestRequest = 64 * 1024;

/** In milliseconds; node:http has those without a function too. */
export interface PlainLimits {
  readonly headersTimeout: number;
  readonly keepAliveTimeout: number;
  /** For how long a client may take nothing of what is written for it. */
  readonly slowReaderMs: () => number;
}

export interface PlainOptions {
  readonly direct: DirectRoutes;
  /** To node:http, from this socket's next byte on. */
  readonly handOver: (socket: Socket) => void;
  /** For how long a connection may rest between two requests; 0 where each ends with its answer. */
  readonly keepAliveSeconds: () => number;
  /** The connection is closed, or node:http's. */
  readonly onGone: (connection: PlainConnection) => void;
}

/** A request whose head is here; of its body, `missing` bytes are still on their way. */
interface Begun {
  readonly handler: Handler;
  readonly head: PlainHead;
  readonly bodyAt: number;
  readonly pieces: Buffer[];
  missing: number;
}

/**
 * A connection for as long as it carries plain requests one after the other: each a POST to a direct route with a head
 * that can be understood in one way only and a short body. With the first bytes that are anything else node:http has it
 * for the rest of its life, and reads those as if nothing had been before.
 */
export class PlainConnection {
  /** Monotonic milliseconds: the request that is on its way began, or the connection was last seen to be busy. */
  #sinceMs = performance.now();
  /** No request has come yet. */
  #isNew = true;
  readonly #socket: Socket;
  readonly #options: PlainOptions;
  readonly #heads = new PlainHeads();
  #begun: Begun | undefined;
  #response: PlainResponse | undefined;
  /** Came while an answer was being made. Reading goes on meanwhile, or nobody would see the client leave. */
  readonly #early: Buffer[] = [];
  #earlyBytes = 0;
  readonly #listeners = {
    data: (piece: Buffer) => this.#received(piece),
    end: () => this.#socket.end(), // a client that stops sending is taken to have left, as by node:http
    error: () => undefined, // `close` follows
    timeout: () => this.destroy(), // of a client that does not read
    close: () => this.#closed(),
  };

  constructor(socket: Socket, options: PlainOptions) {
    this.#socket = socket;
    this.#options = options;
    for (const [event, listener] of Object.entries(this.#listeners)) socket.on(event, listener);
  }

  /** Hangs up on a client that is silent for too long; node:http has limits for requests that don't come to their end. */
  check({ headersTimeout, keepAliveTimeout, slowReaderMs }: PlainLimits): void {
    limitReader(this.#socket, slowReaderMs());
    const nowMs = performance.now();
    const forMs = nowMs - this.#sinceMs;
    if (this.#begun) {
      if (forMs > headersTimeout) this.#handOver(this.#begun.pieces);
    } else if (this.#response || this.#socket.writableLength > 0) this.#sinceMs = nowMs;
    else if (forMs > (this.#isNew ? headersTimeout : keepAliveTimeout)) this.destroy();
  }

  /** Ends when all that is written has left; a request that is here, or on its way, is answered before. */
  close(): void {
    if (!this.#begun && !this.#response) this.#finish();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Leaves the connection, and the request that has begun, to node:http. */
  #handOver(pieces: readonly Buffer[]): void {
    const socket = this.#socket;
    for (const [event, listener] of Object.entries(this.#listeners)) socket.off(event, listener);
    this.#options.onGone(this);
    this.#options.handOver(socket);
    socket.unshift(Buffer.concat(pieces));
  }

  #received(piece: Buffer): void {
    if (this.#response) {
      this.#early.push(piece);
      this.#earlyBytes += piece.length;
      if (this.#earlyBytes > longestRequest) this.#socket.pause();
      return;
    }
    const begun = this.#begun ?? this.#begin(piece);
    if (!begun) {
      this.#handOver([piece]);
      return;
    }
    this.#begun = begun;
    begun.pieces.push(piece);
    begun.missing -= piece.length;
    if (begun.missing < 0) this.#handOver(begun.pieces);
    else if (begun.missing === 0) this.#serve(begun);
  }

  #begin(piece: Buffer): Begun | undefined {
    const end = piece.indexOf('\r\n\r\n');
    const head = end < 0 || end > longestHead ? undefined : this.#heads.read(piece.toString('latin1', 0, end));
    const handler = head && this.#options.direct.get(head.path)?.get('POST');
    if (!handler) return undefined;
    const bodyAt = end + 4;
    const missing = bodyAt + head.length;
    this.#isNew = false;
    this.#sinceMs = performance.now();
    return missing <= longestRequest ? { handler, head, bodyAt, pieces: [], missing } : undefined;
  }

  #serve({ handler, head, bodyAt, pieces }: Begun): void {
    this.#begun = undefined;
    const [first, ...more] = pieces;
    const bytes = first && more.length === 0 ? first : Buffer.concat(pieces);
    const request = { method: 'POST', complete: true, headers: head.headers, body: bytes.subarray(bodyAt) };
    const { keepAliveSeconds } = this.#options;
    const response = new PlainResponse({ socket: this.#socket, keepAliveSeconds, onEnd: () => this.#answered() });
    this.#response = response;
    handler(new DirectContext(head.path, request, response)).catch(() => {
      if (response.headersSent) response.destroy();
      else {
        response.writeHead(500, []);
        response.end();
      }
    });
  }

  #answered(): void {
    this.#response = undefined;
    this.#sinceMs = performance.now();
    if (this.#options.keepAliveSeconds() === 0) this.#finish();
    else if (this.#early.length > 0) {
      this.#socket.resume();
      this.#handOver(this.#early);
    }
  }

  #finish(): void {
    this.#socket.off('data', this.#listeners.data); // what came now would be answered behind the end
    this.#socket.destroySoon();
  }

  #closed(): void {
    this.#options.onGone(this);
    this.#response?.closed();
  }
}
