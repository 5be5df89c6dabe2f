import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';

/** What a client that writes bytes itself hears. */
export class RawClient {
  heard = '';
  closed = false;
  readonly socket: Socket;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1').setNoDelay(true).setEncoding('latin1');
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
    this.socket.on('data', (text: string) => {
      this.heard += text;
    });
  }

  async hears(what: RegExp, times = 1): Promise<void> {
    const all = new RegExp(what, 'g');
    await expect.poll(() => this.heard.match(all)?.length ?? 0, { timeout: 10_000, interval: 5 }).toBe(times);
  }

  leaves(): Promise<void> {
    return expect.poll(() => this.closed, { timeout: 10_000, interval: 5 }).toBe(true);
  }
}

/** A chat request. */
export const hello = { model: 'test', messages: [{ role: 'user', content: 'Hi' }] };
/** Its bytes; `more` are lines of the head. */
export const request = (body: object, more = '') => {
  const text = JSON.stringify(body);
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n${more}content-length: ${Buffer.byteLength(text)}`;
  return Buffer.from(`${head}\r\n\r\n${text}`, 'utf8');
};
