import { GatewayError } from '../../src/core/errors.ts';
import { concatBytes } from '../../src/core/streams.ts';

/** Larger whole answers are refused: embeddings of a full batch are some tens of MiB. */
export const maxAnswerBytes = 64 * 1024 * 1024;

/** The whole body. Throws `upstream_failed` past `maxBytes`, or gives the beginning when `cut` is set. */
export async function readBytes(
  body: AsyncIterable<Uint8Array>,
  { maxBytes = maxAnswerBytes, cut = false }: { readonly maxBytes?: number; readonly cut?: boolean } = {},
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > maxBytes && !cut) {
      throw new GatewayError('upstream_failed', `The upstream’s answer is larger than ${maxBytes} bytes.`);
    }
    pieces.push(piece);
    if (length >= maxBytes && cut) break;
  }
  return concatBytes(pieces);
}

export async function readText(
  body: AsyncIterable<Uint8Array>,
  options?: { readonly maxBytes?: number; readonly cut?: boolean },
): Promise<string> {
  return new TextDecoder().decode(await readBytes(body, options));
}

/** JSON text that an upstream sent; `upstream_failed` when it is none. */
export function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new GatewayError('upstream_failed', `The upstream answered with ${describe(text)} where JSON was due.`, {
      cause: error,
    });
  }
}

/** What it looks like, without quoting it: an answer may hold anything. */
function describe(text: string): string {
  if (text.trim() === '') return 'nothing';
  return /^\s*<(!doctype|html)/i.test(text) ? 'an HTML page' : 'broken JSON';
}
