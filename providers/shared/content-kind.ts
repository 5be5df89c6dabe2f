import { GatewayError } from '../../src/core/errors.ts';
import type { TransportResponse } from '../../src/core/transport.ts';

/** Events unless it says JSON: some servers forget the header. A page is no answer of a model. */
export function contentKind(response: TransportResponse): 'events' | 'json' {
  const type = response.contentType ?? response.headers['content-type'] ?? '';
  if (type.startsWith('text/html')) {
    throw new GatewayError('upstream_failed', 'The upstream answered with an HTML page: is its base URL right?');
  }
  return type.startsWith('application/json') || /^application\/\w+\+json/.test(type) ? 'json' : 'events';
}
