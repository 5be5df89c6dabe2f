import { GatewayError } from '../core/errors.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;
const OPEN_ARRAY = 91;
const CLOSE_ARRAY = 93;
const QUOTE = 34;
const BACKSLASH = 92;

/** Far above what any client nests, far below what makes recursive readers overflow their stack. */
export const maxJsonDepth = 64;

/**
 * A request body as a value, or invalid_request. Depth is counted before parsing, so nothing behind this ever walks a
 * tree deeper than `maxDepth`.
 */
export function parseJsonBody(bytes: Uint8Array, { maxDepth = maxJsonDepth } = {}): unknown {
  if (bytes.length === 0) {
    throw new GatewayError('invalid_request', 'The request body is empty; send a JSON object.', {
      code: 'invalid_json',
    });
  }
  if (deeperThan(bytes, maxDepth)) {
    throw new GatewayError('invalid_request', `The JSON body is nested deeper than ${maxDepth} levels.`, {
      code: 'invalid_json',
    });
  }
  try {
    return JSON.parse(utf8.decode(bytes)) as unknown;
  } catch {
    throw new GatewayError(
      'invalid_request',
      'We could not parse the JSON body of your request. It must be valid JSON in UTF-8.',
      { code: 'invalid_json' },
    );
  }
}

/** O(bytes), without recursion; brackets inside strings do not count. */
export function deeperThan(bytes: Uint8Array, maxDepth: number): boolean {
  let depth = 0;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (byte === QUOTE) {
      index = endOfString(bytes, index);
      if (index < 0) return false; // unfinished: JSON.parse says so
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > maxDepth) return true;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth--;
  }
  return false;
}

/** Index of the quote that closes the string opened at `open`, -1 if none does. */
function endOfString(bytes: Uint8Array, open: number): number {
  for (let close = bytes.indexOf(QUOTE, open + 1); close >= 0; close = bytes.indexOf(QUOTE, close + 1)) {
    let slashes = 0;
    while (bytes[close - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return close;
  }
  return -1;
}
