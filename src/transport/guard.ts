import { GatewayError } from '../core/errors.ts';
import type { Transport } from '../core/transport.ts';
import { isPrivateAddress, isPrivateName } from './private-address.ts';

/** Throws `forbidden` unless `url` is plain http(s) to a public host: what a user may name as a base URL. */
export function assertPublicUrl(url: string): void {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new GatewayError('invalid_request', 'The base URL is not a URL.');
  }
  const refused =
    !/^https?:$/.test(parsed.protocol) ||
    parsed.username !== '' ||
    parsed.password !== '' ||
    isPrivateAddress(parsed.hostname) ||
    (!parsed.hostname.startsWith('[') && isPrivateName(parsed.hostname));
  if (refused) {
    throw new GatewayError('forbidden', 'The base URL must be http(s) to a public host, without credentials.');
  }
}

/**
 * The transport for URLs that came with a request: every URL is judged before it is sent. On Node the resolved
 * addresses are judged too (`publicOnly` of the undici transport); the edge has no private network to reach.
 */
export function guarded(transport: Transport): Transport {
  return {
    ...transport,
    send: async (request, options) => {
      assertPublicUrl(request.url);
      return transport.send(request, options);
    },
  };
}
