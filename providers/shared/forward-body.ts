import type { WireRequest } from '../../src/core/request.ts';

/** What is set in a client's body on its way through; everything else stays as the client wrote it. */
export interface BodyChanges {
  /** Replaces the top-level `model`. */
  readonly model: string;
  /** Top-level fields set beside the client's own, or in their place. */
  readonly add?: Readonly<Record<string, unknown>> | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * The client's body for an upstream of the same dialect: its own bytes where nothing changes, else the same text with
 * the model's name exchanged in place, so that numbers, order and unknown fields stay exactly as they were written.
 */
export function forwardBody({ body, bytes }: WireRequest, { model, add }: BodyChanges): Uint8Array | string {
  const additions = add ? JSON.stringify(add).slice(1, -1) : '';
  const isText = bytes !== undefined && !(add && Object.keys(add).some((name) => name in body));
  if (!isText) return JSON.stringify({ ...body, ...(body['model'] === model ? {} : { model }), ...add });
  if (body['model'] === model && additions === '') return bytes;
  let text = decoder.decode(bytes);
  if (body['model'] !== model) {
    const at = findModel(text);
    if (!at) return JSON.stringify({ ...body, model, ...add });
    text = text.slice(0, at.start) + JSON.stringify(model) + text.slice(at.end);
  }
  if (additions !== '') {
    const open = text.indexOf('{') + 1;
    text = `${text.slice(0, open)}${additions},${text.slice(open)}`;
  }
  return encoder.encode(text);
}

/**
 * Where the top-level `model` value stands. Almost always its key occurs once in the whole text; otherwise (a tool with
 * a parameter `model`, say) the text is walked. Undefined where an escaped or doubled key leaves doubt.
 */
function findModel(text: string): { start: number; end: number } | undefined {
  const key = /"model"\s*:\s*("(?:[^"\\]|\\.)*")/g;
  const first = key.exec(text);
  if (!first || text.includes('\\u006')) return undefined;
  const span = (match: RegExpExecArray) => ({ start: key.lastIndex - (match[1]?.length ?? 0), end: key.lastIndex });
  const found = span(first);
  if (!key.exec(text)) return found;

  let depth = 0;
  let only: { start: number; end: number } | undefined;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x7b: // {
      case 0x5b: // [
        depth++;
        break;
      case 0x7d:
      case 0x5d:
        depth--;
        break;
      case 0x22: {
        if (depth === 1) {
          key.lastIndex = at;
          const match = key.exec(text);
          if (match?.index === at) {
            if (only) return undefined;
            only = span(match);
            at = only.end - 1;
            break;
          }
        }
        at = endOfString(text, at);
      }
    }
  }
  return only;
}

/** Index of the quote that closes the string opened at `at`. */
export function endOfString(text: string, at: number): number {
  let quote = text.indexOf('"', at + 1);
  while (quote > 0) {
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return quote;
    quote = text.indexOf('"', quote + 1);
  }
  return text.length;
}
