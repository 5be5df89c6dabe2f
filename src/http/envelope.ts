import { encodeMessageError } from '../wire/anthropic/errors.ts';
import { encodeOllamaError } from '../wire/ollama/errors.ts';
import { encodeError } from '../wire/openai/errors.ts';
import type { ErrorBody } from './endpoint.ts';
import { type AppContext, headersOf } from './env.ts';

/** The envelope that the client of a path reads, where the path alone (or a header that only one SDK sends) tells which that is. */
export function envelopeOf(c: AppContext): ErrorBody {
  const { path } = c.req;
  if (path.startsWith('/api/')) return encodeOllamaError;
  const anthropic = /^(\/v1)?\/messages(\/|$)/.test(path) || headersOf(c)['anthropic-version'] !== undefined;
  return anthropic ? encodeMessageError : encodeError;
}
