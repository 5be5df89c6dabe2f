import { GatewayError } from '../../src/core/errors.ts';
import { concatBytes } from '../../src/core/streams.ts';
import type { TransportBody } from '../../src/core/transport.ts';
import { answerTooLarge } from '../../src/transport/errors.ts';

/** Larger whole answers are refused: embeddings of a full batch are some tens of MiB. */
const maxAnswerBytes = 64 * 1024 * 1024;

export interface ReadLimits {
  readonly maxBytes?: number;
  /** The beginning will do, where there is more. */
  readonly cut?: boolean;
}

/**
 * The whole body; no promise where all of it is there. Throws `upstream_failed` past `maxBytes`, or gives the beginning
 * when `cut` is set.
 */
export function readBytes(
  body: TransportBody,
  { maxBytes = maxAnswerBytes, cut = false }: ReadLimits = {},
): Uint8Array | Promise<Uint8Array> {
  return body.whole && !cut ? body.whole(maxBytes) : pullBytes(body, maxBytes, cut);
}

async function pullBytes(body: AsyncIterable<Uint8Array>, maxBytes: number, cut: boolean): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > maxBytes && !cut) throw answerTooLarge(maxBytes);
    pieces.push(piece);
    if (length >= maxBytes && cut) break;
  }
  return concatBytes(pieces);
}

/** All of a body as text. Throws `upstream_failed` past the limits. */
export async function readText(body: TransportBody, limits?: ReadLimits): Promise<string> {
  return new TextDecoder().decode(await readBytes(body, limits));
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
