import { isHost } from '../asked-host.ts';

/** The head of a request that can be understood in one way only. */
export interface PlainHead {
  readonly path: string;
  /** By lower-case name, but for `content-length`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body. */
  readonly length: number;
}

const wholeHead = /^POST (\/[!-~]*) HTTP\/1\.1(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*)+$/;
const isLength = /^\d{1,9}$/;
/** All that stands before the length's digits. */
const toLength = /^.*\r\ncontent-length:[\t ]*/is;
/** They change how a connection is used or a body is framed. */
const framing = ['transfer-encoding', 'expect', 'upgrade', 'trailer', 'proxy-connection'];

/** What a head says, and its text around the digits of the body's length. */
interface Known extends Omit<PlainHead, 'length'> {
  readonly before: string;
  readonly after: string;
}

/** Reads the heads of one connection's requests. A client repeats its head but for the length: the rest is read once. */
export class PlainHeads {
  #known: Known | undefined;

  /**
   * Of a head without its last blank line, one character a byte. Undefined for all that is not plain: another method or
   * version, a repeated or folded header, bytes beyond ASCII, a body without a length, a connection that is to end.
   */
  read(text: string): PlainHead | undefined {
    return this.#repeated(text) ?? this.#readAnew(text);
  }

  #repeated(text: string): PlainHead | undefined {
    const known = this.#known;
    if (!known || !text.startsWith(known.before) || !text.endsWith(known.after)) return undefined;
    const length = text.slice(known.before.length, text.length - known.after.length);
    return isLength.test(length) ? { path: known.path, headers: known.headers, length: Number(length) } : undefined;
  }

  #readAnew(text: string): PlainHead | undefined {
    const path = wholeHead.exec(text)?.[1];
    if (path === undefined) return undefined;
    const headers: Record<string, string> = {};
    for (const line of text.split('\r\n').slice(1)) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      if (headers[name] !== undefined) return undefined; // repeated, or what every object has
      headers[name] = line.slice(colon + 1).trim();
    }
    const { 'content-length': length = '', ...rest } = headers;
    const { host, connection = 'keep-alive' } = rest;
    if (!host || !isHost(host) || connection.toLowerCase() !== 'keep-alive' || !isLength.test(length)) return undefined;
    if (framing.some((name) => rest[name] !== undefined)) return undefined;
    const before = toLength.exec(text)?.[0] ?? '';
    this.#known = { path, headers: rest, before, after: text.slice(before.length + length.length) };
    return { path, headers: rest, length: Number(length) };
  }
}
