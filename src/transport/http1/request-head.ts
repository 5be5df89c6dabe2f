import type { RequestHeaders, TransportRequest } from '../../core/transport.ts';

/** Headers that say how a request is framed: who sets one of these himself is left to the general transport. */
const framing = new Set([
  'host',
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'expect',
  'te',
  'trailer',
  'upgrade',
]);
const isName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const notInValue = /[^\t\x20-\x7e\x80-\xff]/;
const notInPath = /[^\x21-\x7e]/;

/**
 * The head of a request with a body of so many bytes, one character a byte. Undefined where a name, a value or the path
 * is not plainly what it should be.
 */
export function requestHead(
  { method, headers }: TransportRequest,
  host: string,
  path: string,
  bodyBytes: number | undefined,
): string | undefined {
  if (notInPath.test(path)) return undefined;
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  const list = listed(headers);
  let values = '';
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = list[at] ?? '';
    const value = list[at + 1] ?? '';
    if (!isKnownName(name)) return undefined;
    head += `${name}: ${value}\r\n`;
    values += value;
  }
  if (notInValue.test(values)) return undefined;
  const length = bodyBytes ?? (method === 'POST' || method === 'PUT' ? 0 : undefined);
  return length === undefined ? `${head}\r\n` : `${head}content-length: ${length}\r\n\r\n`;
}

const listed = (headers: RequestHeaders): readonly string[] =>
  isList(headers) ? headers : Object.entries(headers).flat();
const isList = (headers: RequestHeaders): headers is readonly string[] => Array.isArray(headers);

/** Names come from the configuration and from the code, so there are few of them. */
const knownNames = new Map<string, boolean>();
const mostNames = 1000;

function isKnownName(name: string): boolean {
  let known = knownNames.get(name);
  if (known === undefined) {
    if (knownNames.size >= mostNames) knownNames.clear();
    known = isName.test(name) && !framing.has(name);
    knownNames.set(name, known);
  }
  return known;
}
