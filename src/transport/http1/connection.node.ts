import { connect, type Socket } from 'node:net';
import { bufferOf } from '../buffer.node.ts';
import { atTurnEnd } from '../turn-end.node.ts';
import type { Http1Exchange } from './exchange.node.ts';

/** What all sockets are read into, one after the other: what is to last is copied. Fresh memory for each read costs more. */
const lent = Buffer.allocUnsafeSlow(64 * 1024);
/** A body up to this size leaves in one piece with its head. */
const joinedBytes = 16 * 1024;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ConnectionOptions {
  readonly connectTimeoutMs: number;
  /** The exchange has ended and the connection can carry another one, for so long if the peer told. */
  readonly onRest: (connection: Connection, idleMs: number | undefined) => void;
  readonly onClose: (connection: Connection) => void;
}

/** One connection to an upstream, which carries one exchange at a time. */
export class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  #exchange: Http1Exchange | undefined;
  /** Its request is on its way: until then, what comes was not asked for. */
  #sent = false;
  #held = true;
  /** What is done instead of failing while nothing was sent: see `begin`. */
  #orElse: (() => void) | undefined;
  /** Monotonic milliseconds until which it may be used again, while it rests. */
  restsUntilMs = 0;

  constructor(address: Address, options: ConnectionOptions) {
    this.#options = options;
    const socket = connect({
      ...address,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      onread: { buffer: lent, callback: (length) => this.#received(length) },
    });
    const late = setTimeout(() => {
      socket.destroy(Object.assign(new Error('the connection took too long'), { code: 'ETIMEDOUT' }));
    }, options.connectTimeoutMs);
    socket.once('connect', () => clearTimeout(late));
    socket.on('end', () => this.#closed());
    socket.on('error', (error) => this.#broke(error));
    socket.on('close', () => {
      clearTimeout(late);
      options.onClose(this);
      this.#broke(new Error('the connection was closed'));
    });
    this.#socket = socket;
  }

  get usable(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  /**
   * Sends a request after so many turns of the event loop, so that a peer that has closed meanwhile can tell; `head` has
   * one character a byte. `orElse` is called in place of a failure when the peer does so before anything was sent.
   */
  begin(exchange: Http1Exchange, head: string, body: Uint8Array | undefined, turns: 1 | 2, orElse?: () => void): void {
    this.#exchange = exchange;
    this.#orElse = orElse;
    exchange.carriedBy(this);
    const socket = this.#socket;
    if (!this.#held) socket.ref();
    this.#held = true;
    this.#sent = false;
    const sendNow = () => {
      if (socket.destroyed) return;
      this.#sent = true;
      send(socket, head, body);
    };
    atTurnEnd(turns === 1 ? sendNow : () => atTurnEnd(sendNow));
  }

  /** Lets the process end while the connection rests. */
  letGo(): void {
    if (this.#held) this.#socket.unref();
    this.#held = false;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  #received(length: number): boolean {
    const exchange = this.#exchange;
    if (!exchange || !this.#sent) {
      this.#broke(new Error('the peer said more than it was asked for'));
      this.close();
      return true;
    }
    try {
      const taken = exchange.parser.push(lent.subarray(0, length));
      if (exchange.parser.over) this.#finish(exchange, taken === length);
    } catch (error) {
      this.#broke(error);
      this.close();
    }
    return true;
  }

  /** What is left unsent or unread of one exchange must not become a part of the next. */
  #finish({ parser }: Http1Exchange, clean: boolean): void {
    this.#exchange = undefined;
    const { reusable, idleMs } = parser;
    if (reusable && clean && this.usable && this.#socket.writableLength === 0) {
      if (this.#socket.isPaused()) this.#socket.resume(); // by a reader that lags behind an answer that is all here
      this.#options.onRest(this, idleMs);
    } else this.close();
  }

  /** The peer sends no more. */
  #closed(): void {
    try {
      this.#exchange?.parser.close();
      this.#exchange = undefined;
    } catch (error) {
      this.#broke(error);
    }
    this.close();
  }

  #broke(error: unknown): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (!this.#sent && this.#orElse && exchange?.settled === false) this.#orElse();
    else exchange?.fail(error);
  }
}

function send(socket: Socket, head: string, body: Uint8Array | undefined): void {
  if (body === undefined) socket.write(head, 'latin1');
  else if (body.length <= joinedBytes) socket.write(head + bufferOf(body).toString('latin1'), 'latin1');
  else {
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(body);
    socket.uncork();
  }
}
