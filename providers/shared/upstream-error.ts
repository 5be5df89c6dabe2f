import type { GatewayError } from '../../src/core/errors.ts';
import type { TransportResponse } from '../../src/core/transport.ts';
import { errorOf } from '../../src/wire/upstream-error.ts';
import { readText } from './read-body.ts';

const maxErrorBytes = 64 * 1024;

/** An answer that is no 2xx, as the error to throw. Reads the body. */
export async function upstreamError(
  response: TransportResponse,
  options: { readonly secrets?: readonly string[] } = {},
): Promise<GatewayError> {
  let text = '';
  try {
    text = await readText(response.body, { maxBytes: maxErrorBytes, cut: true });
  } catch {} // the status alone says enough
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = isPlainWords(text) ? { message: text } : undefined;
  }
  return errorOf(response.status, body, response.headers, options.secrets ?? []);
}

const isPlainWords = (body: string) => body.trim() !== '' && body.length < 500 && !body.includes('<');
