/** The head of an answer: what its framing says, and its headers for whoever asks. */
export interface AnswerHead {
  readonly status: number;
  /** Of `content-length`; undefined where there is none. */
  readonly length: number | undefined;
  readonly chunked: boolean;
  readonly keepsAlive: boolean;
  /** `keep-alive: timeout=…` */
  readonly idleMs: number | undefined;
  readonly contentType: string;
  readonly contentEncoding: string | undefined;
  /** Lower-case names; repeated headers joined by a comma. */
  headers(): Record<string, string>;
}

/** Of a status line and others: a name, a colon, and no control character but the tab. */
const wholeHead =
  /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*$/;

/** Reads a head without its last blank line; one character a byte. Throws where it can be understood in two ways. */
export function readHead(text: string): AnswerHead {
  const head = wholeHead.exec(text) ?? wholeHead.exec(text.replace(/\r\n[ \t]+/g, ' ')); // lines may go on in the next
  if (!head) throw badHead('a line of its head');
  return new ParsedHead(head);
}

/** A class, and the headers read late: of most answers five are looked at, and nobody asks for the rest. */
class ParsedHead implements AnswerHead {
  readonly status: number;
  length: number | undefined;
  chunked = false;
  keepsAlive: boolean;
  idleMs: number | undefined;
  contentType = '';
  contentEncoding: string | undefined;
  readonly #text: string;
  #closes = false;

  constructor([text, minor, status]: RegExpExecArray) {
    this.#text = text;
    this.status = Number(status);
    this.keepsAlive = minor === '1';
    eachLine(text, (start, colon, end) => {
      switch (colon - start) {
        case 10:
          this.#seeConnection(text.slice(start, colon).toLowerCase(), valueIn(text, colon, end));
          return;
        case 12:
          if (text.slice(start, colon).toLowerCase() === 'content-type') this.contentType ||= valueIn(text, colon, end);
          return;
        case 14:
          if (text.slice(start, colon).toLowerCase() === 'content-length') this.#seeLength(valueIn(text, colon, end));
          return;
        case 16:
          if (text.slice(start, colon).toLowerCase() === 'content-encoding') {
            this.contentEncoding ??= valueIn(text, colon, end);
          }
          return;
        case 17:
          if (text.slice(start, colon).toLowerCase() === 'transfer-encoding')
            this.#seeCoding(valueIn(text, colon, end));
          return;
        default:
      }
    });
    if (this.chunked && this.length !== undefined) throw badHead('both a length and chunks');
  }

  headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    const text = this.#text;
    eachLine(text, (start, colon, end) => {
      const name = text.slice(start, colon).toLowerCase();
      const value = valueIn(text, colon, end);
      headers[name] = Object.hasOwn(headers, name) ? `${headers[name]}, ${value}` : value;
    });
    return headers;
  }

  #seeConnection(name: string, value: string): void {
    if (name === 'connection') {
      const said = value.toLowerCase();
      this.#closes ||= said.includes('close'); // of several lines too, "close" is what counts (RFC 9112, 9.3)
      this.keepsAlive = !this.#closes && (this.keepsAlive || said.includes('keep-alive'));
    } else if (name === 'keep-alive') {
      const seconds = /timeout=\s*"?(\d{1,6})/i.exec(value)?.[1];
      if (seconds !== undefined) this.idleMs = Number(seconds) * 1000;
    }
  }

  #seeLength(value: string): void {
    if (!/^\d{1,15}$/.test(value) || this.length !== undefined) throw badHead('its length');
    this.length = Number(value);
  }

  #seeCoding(value: string): void {
    if (value.toLowerCase() !== 'chunked' || this.chunked) throw badHead('its transfer-encoding');
    this.chunked = true;
  }
}

/** Goes through the lines after the first, each of which has a name. */
function eachLine(text: string, see: (start: number, colon: number, end: number) => void): void {
  for (let before = text.indexOf('\r\n'); before >= 0; ) {
    const start = before + 2;
    const next = text.indexOf('\r\n', start);
    const end = next < 0 ? text.length : next;
    const colon = text.indexOf(':', start);
    see(start, colon, end);
    before = next;
  }
}

const isBlank = (code: number): boolean => code === 32 || code === 9;

function valueIn(text: string, colon: number, end: number): string {
  let from = colon + 1;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

const badHead = (what: string): Error =>
  Object.assign(new Error(`not HTTP/1.1: ${what}`), { code: 'HPE_INVALID_HEAD' });
