import { GatewayError } from '../core/errors.ts';

/**
 * The credential of a request, from whichever header the client's SDK uses: `Authorization: Bearer` (OpenAI),
 * `x-api-key` (Anthropic), `api-key` (Azure), `x-goog-api-key` (Gemini). One extractor for every route, so that no
 * header leads around a check. Two different credentials are refused: which one counts must not be a guess.
 */
export function credentialOf(headers: Readonly<Record<string, string>>): string | undefined {
  let found: string | undefined;
  const bearer = /^bearer +([^\s,]+) *$/i.exec(headers['authorization'] ?? '')?.[1];
  for (const value of [bearer, headers['x-api-key'], headers['api-key'], headers['x-goog-api-key']]) {
    const credential = value?.trim();
    if (!credential) continue;
    if (found !== undefined && found !== credential) {
      throw new GatewayError('unauthorized', 'The request carries two different API keys. Send one of them only.');
    }
    found = credential;
  }
  if (found !== undefined && found.length > 8192) {
    throw new GatewayError('unauthorized', 'The API key is too long.');
  }
  return found;
}
