import { type AnswerHead, readHead } from './answer-head.ts';

/** Told what an answer brings, in order. */
export interface AnswerReader {
  /** Of interim answers (1xx) nothing is told. */
  onHead(head: AnswerHead): void;
  /** The bytes are only lent: what they lie in is used again after the call. */
  onData(bytes: Buffer): void;
  onEnd(): void;
}

type Step =
  | 'head'
  | 'body'
  | 'body-to-close'
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'chunk'
  | 'chunk-cr'
  | 'chunk-lf'
  | 'trailer'
  | 'trailer-text'
  | 'trailer-lf'
  | 'last-lf'
  | 'over';

const maxHeadBytes = 64 * 1024;
const blankLine = Buffer.from('\r\n\r\n');
/** Of extensions and trailers together, which nobody reads. */
const maxIgnoredBytes = 64 * 1024;
const maxSizeDigits = 12;

/**
 * One HTTP/1.1 answer, piece by piece (RFC 9112), read strictly: what could be understood in two ways is an error, because
 * the next answer of the connection would begin in the wrong place.
 */
export class AnswerParser {
  readonly #reader: AnswerReader;
  #step: Step = 'head';
  /** A head that has not come to its end. */
  #held: Buffer | undefined;
  /** Bytes missing of the body, or of the chunk. */
  #left = 0;
  #digits = 0;
  #ignored = 0;
  #reusable = false;
  /** How long the peer keeps a connection that is not used; undefined where it did not tell. */
  idleMs: number | undefined;

  constructor(reader: AnswerReader) {
    this.#reader = reader;
  }

  /** The answer is complete. */
  get over(): boolean {
    return this.#step === 'over';
  }

  /** The connection may carry another request after this answer. */
  get reusable(): boolean {
    return this.#reusable && this.over;
  }

  /** Gives how many of the bytes belong to the answer. They may be moved. Throws where they are no answer. */
  push(bytes: Buffer): number {
    let at = 0;
    while (this.#step === 'head' && at < bytes.length) at += this.#takeHead(at === 0 ? bytes : bytes.subarray(at));
    if (at >= bytes.length) return at;
    if (this.#step === 'body') return this.#takeBody(bytes, at);
    if (this.#step === 'body-to-close') {
      this.#reader.onData(at === 0 ? bytes : bytes.subarray(at));
      return bytes.length;
    }
    return this.#step === 'over' ? at : this.#takeChunks(bytes, at);
  }

  /** The peer has closed. Throws where something is missing. */
  close(): void {
    if (this.#step === 'body-to-close') this.#end();
    else if (this.#step !== 'over') throw new Error('the connection ended before the answer');
  }

  /** Of an interim answer (1xx) nothing is left: the real one follows. */
  #takeHead(bytes: Buffer): number {
    const heldBytes = this.#held?.length ?? 0;
    const all = this.#held ? Buffer.concat([this.#held, bytes]) : bytes;
    const end = all.indexOf(blankLine);
    if (end < 0 || end > maxHeadBytes) {
      if (all.length > maxHeadBytes || !beginsAsAnswer(all, heldBytes)) throw notHttp('its head');
      this.#held = this.#held ? all : Buffer.from(all); // what is lent does not last
      return bytes.length;
    }
    this.#held = undefined;
    const head = readHead(all.toString('latin1', 0, end));
    if (head.status === 101) throw notHttp('another protocol');
    if (head.status >= 200) this.#begin(head);
    return end + 4 - heldBytes;
  }

  #begin(head: AnswerHead): void {
    this.#reusable = head.keepsAlive;
    this.idleMs = head.idleMs;
    const bodiless = head.status === 204 || head.status === 304;
    const { length } = head;
    this.#step = bodiless ? 'over' : head.chunked ? 'size' : length === undefined ? 'body-to-close' : 'body';
    this.#left = length ?? 0;
    this.#reader.onHead(head);
    if (this.#step === 'over' || (this.#step === 'body' && this.#left === 0)) this.#end();
  }

  #takeBody(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    this.#reader.onData(bytes.subarray(at, end));
    if (this.#left === 0) this.#end();
    return end;
  }

  /** What the chunks of one read hold is moved together and told as one: a stream brings a hundred of them at a time. */
  #takeChunks(bytes: Buffer, from: number): number {
    let at = from;
    let to = from;
    while (at < bytes.length && this.#step !== 'over') {
      if (this.#step === 'chunk') {
        const end = Math.min(bytes.length, at + this.#left);
        if (to !== at) bytes.copyWithin(to, at, end);
        to += end - at;
        this.#left -= end - at;
        if (this.#left === 0) this.#step = 'chunk-cr';
        at = end;
      } else this.#takeFraming(bytes[at++] ?? 0);
    }
    if (to > from) this.#reader.onData(bytes.subarray(from, to));
    if (this.over) this.#end();
    return at;
  }

  /** One byte of what stands around the chunks. */
  #takeFraming(byte: number): void {
    switch (this.#step) {
      case 'size': {
        const digit = hexDigit(byte);
        if (digit >= 0 && ++this.#digits <= maxSizeDigits) this.#left = this.#left * 16 + digit;
        else if (digit >= 0 || this.#digits === 0) throw notHttp('the size of a chunk');
        else if (byte === cr) this.#step = 'size-lf';
        else if (byte === semicolon) this.#step = 'extension';
        else throw notHttp('the size of a chunk');
        return;
      }
      case 'extension':
        this.#ignore();
        if (byte === lf) throw notHttp('the line of a chunk');
        if (byte === cr) this.#step = 'size-lf';
        return;
      case 'size-lf':
        this.#expect(byte, lf, this.#left > 0 ? 'chunk' : 'trailer');
        this.#digits = 0;
        return;
      case 'chunk-cr':
        this.#expect(byte, cr, 'chunk-lf');
        return;
      case 'chunk-lf':
        this.#expect(byte, lf, 'size');
        return;
      case 'trailer':
      case 'trailer-text':
        this.#ignore();
        if (byte === lf) throw notHttp('a line after its chunks');
        if (byte !== cr) this.#step = 'trailer-text';
        else this.#step = this.#step === 'trailer' ? 'last-lf' : 'trailer-lf';
        return;
      case 'trailer-lf':
        this.#expect(byte, lf, 'trailer');
        return;
      case 'last-lf':
        this.#expect(byte, lf, 'over');
        return;
      default:
        throw notHttp('its framing');
    }
  }

  #expect(byte: number, wanted: number, next: Step): void {
    if (byte !== wanted) throw notHttp('the end of a chunk');
    this.#step = next;
  }

  #ignore(): void {
    if (++this.#ignored > maxIgnoredBytes) throw notHttp('what stands around its chunks');
  }

  #end(): void {
    this.#step = 'over';
    this.#reader.onEnd();
  }
}

const cr = 13;
const lf = 10;
const semicolon = 59;

/** -1 for anything else. */
function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** Whether it may become a head, of which all up to `checked` is known: one that never will should not be waited for. */
function beginsAsAnswer(bytes: Buffer, checked: number): boolean {
  const wanted = 'HTTP/1.';
  const begun = bytes.toString('latin1', 0, Math.min(wanted.length, bytes.length));
  if (!wanted.startsWith(begun)) return false;
  for (let at = bytes.indexOf(lf, checked); at >= 0; at = bytes.indexOf(lf, at + 1)) {
    if (bytes[at - 1] !== cr) return false;
  }
  return true;
}

/** The code is that of every parser of Node's: by it the error is told from one of the network. */
const notHttp = (where: string): Error =>
  Object.assign(new Error(`not HTTP/1.1: ${where}`), { code: 'HPE_INVALID_ANSWER' });
