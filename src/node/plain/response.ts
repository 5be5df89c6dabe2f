import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { nowSeconds } from '../../core/clock.ts';
import type { AnswerHeaders, NodeResponse } from '../../http/env.ts';
import { bufferOf } from '../../transport/buffer.node.ts';
import { atTurnEnd } from '../../transport/turn-end.node.ts';

/** Text that is longer leaves at once, and a piece of bytes that is longer is not joined with what is before it. */
const joinedLength = 16 * 1024;

const notPlain = /[^\t\x20-\x7e]/;
/** What a header's value must not hold, as in node:http. */
const notInValue = /[^\t\x20-\x7e\x80-\xff]/;

export interface PlainResponseOptions {
  readonly socket: Socket;
  /** Of `keep-alive: timeout=…`; 0 where the connection ends with the answer. */
  readonly keepAliveSeconds: () => number;
  /** All of it is written; called once. */
  readonly onEnd: () => void;
}

/** An answer written straight to the socket: the part of node:http's ServerResponse that the gateway uses. */
export class PlainResponse implements NodeResponse {
  statusCode = 200;
  headersSent = false;
  readonly #options: PlainResponseOptions;
  readonly #socket: Socket;
  #framing: 'length' | 'chunks' | 'none' = 'none';
  /** What is not with the socket yet; its encoding is undefined while all of it is ASCII. */
  #text = '';
  #encoding: 'latin1' | 'utf8' | undefined;
  #corked = false;
  /** `end` was called; then also: all is with the socket, which serves other requests now. */
  #ended = false;
  #over = false;
  readonly #onClose: (() => void)[] = [];

  constructor(options: PlainResponseOptions) {
    this.#options = options;
    this.#socket = options.socket;
  }

  get destroyed(): boolean {
    return !this.#over && this.#socket.destroyed;
  }

  get writableFinished(): boolean {
    return this.#over && this.#socket.writableLength === 0;
  }

  get writableNeedDrain(): boolean {
    return this.#socket.writableNeedDrain;
  }

  writeHead(status: number, headers: AnswerHeaders): void {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
    let values = '';
    let hasLength = false;
    const list = Array.isArray(headers) ? headers : Object.entries(headers).flat();
    for (let at = 0; at + 1 < list.length; at += 2) {
      const name = list[at] ?? '';
      const value = list[at + 1] ?? '';
      if (name === 'content-length') hasLength = true;
      head += `${name}: ${value}\r\n`;
      values += value;
    }
    const isAscii = !notPlain.test(values);
    if (!isAscii && notInValue.test(values)) throw new TypeError('Invalid character in header content');
    this.#framing = status === 204 || status === 304 ? 'none' : hasLength ? 'length' : 'chunks';
    if (this.#framing === 'chunks') head += 'transfer-encoding: chunked\r\n';
    this.#put(head + lastLines(this.#options.keepAliveSeconds()), isAscii ? undefined : 'latin1');
    this.statusCode = status;
    this.headersSent = true;
  }

  write(chunk: string | Uint8Array): void {
    if (this.#ended || this.#framing === 'none' || chunk.length === 0) return;
    const isText = typeof chunk === 'string';
    const inChunks = this.#framing === 'chunks';
    if (inChunks) this.#put(`${(isText ? Buffer.byteLength(chunk) : chunk.length).toString(16)}\r\n`, undefined);
    if (isText) this.#put(chunk, 'utf8');
    else if (chunk.length <= joinedLength) this.#put(bufferOf(chunk).toString('latin1'), 'latin1');
    else {
      this.#flush();
      this.#socket.write(chunk);
    }
    if (inChunks) this.#put('\r\n', undefined);
    if (!this.#corked || this.#text.length > joinedLength) this.#flush();
  }

  /** What is left leaves at the end of the turn, beside the answers of other requests. */
  end(chunk?: string | Uint8Array): void {
    if (this.#ended) return;
    this.#corked = true;
    if (chunk !== undefined) this.write(chunk);
    if (this.#framing === 'chunks') this.#put('0\r\n\r\n', undefined);
    this.#ended = true;
    atTurnEnd(() => {
      if (this.#socket.destroyed) return;
      this.#flush();
      this.#over = true;
      this.#options.onEnd();
    });
  }

  destroy(): void {
    if (!this.#over) this.#socket.destroy();
  }

  cork(): void {
    this.#corked = true;
  }

  uncork(): void {
    if (this.#ended) return;
    this.#corked = false;
    this.#flush();
  }

  on(_event: 'close', listener: () => void): void {
    this.#onClose.push(listener);
  }

  once(event: 'close' | 'drain', listener: () => void): void {
    if (event === 'drain') this.#socket.once(event, listener);
    else this.#onClose.push(listener);
  }

  off(event: 'close' | 'drain', listener: () => void): void {
    if (event === 'drain') this.#socket.off(event, listener);
    else if (this.#onClose.includes(listener)) this.#onClose.splice(this.#onClose.indexOf(listener), 1);
  }

  /** The connection is gone. */
  closed(): void {
    if (!this.#over) for (const listener of [...this.#onClose]) listener();
  }

  #put(text: string, encoding: 'latin1' | 'utf8' | undefined): void {
    if (encoding !== undefined && this.#encoding !== undefined && encoding !== this.#encoding) this.#flush();
    this.#encoding = encoding ?? this.#encoding;
    this.#text += text;
  }

  #flush(): void {
    const text = this.#text;
    if (text === '' || this.#socket.destroyed) return;
    const encoding = this.#encoding ?? 'latin1';
    this.#text = '';
    this.#encoding = undefined;
    this.#socket.write(text, encoding);
  }
}

let made = { second: 0, keepAliveSeconds: 0, text: '' };

/** Of a head: the date and how the connection goes on; the same string for a whole second. */
function lastLines(keepAliveSeconds: number): string {
  const second = nowSeconds();
  if (made.second !== second || made.keepAliveSeconds !== keepAliveSeconds) {
    const date = new Date(second * 1000).toUTCString();
    const rest = keepAliveSeconds > 0 ? `keep-alive\r\nkeep-alive: timeout=${keepAliveSeconds}` : 'close';
    made = { second, keepAliveSeconds, text: `date: ${date}\r\nconnection: ${rest}\r\n\r\n` };
  }
  return made.text;
}
