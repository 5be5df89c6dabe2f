import { randomId } from '../src/core/clock.ts';
import { bodyDigest } from '../src/core/digest.ts';
import { bodyDigestHeader, signGatewayToken } from '../src/core/gateway-token.ts';
import type { CallOptions, Provider } from '../src/core/provider.ts';
import type { Transport } from '../src/core/transport.ts';
import { openai } from './openai.ts';
import { compatible } from './presets.ts';
import { createUpstream, type Upstream, type UpstreamCall } from './shared/upstream.ts';

export interface TidegateOptions {
  readonly name: string;
  /** Its address, with `/v1`. */
  readonly baseUrl: string;
  /** The `keys.gatewaySecret` over there. */
  readonly secret: string;
  readonly transport: Transport;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

/** What a gateway is able to do for another one; which of its models can is its own affair. */
export const tidegateCapabilities = {
  ...compatible,
  grammar: true,
  customTools: true,
  images: false,
  prefill: true,
  constrainedPrefill: true,
  local: true,
};

/**
 * Another gateway of our own, one with an engine: what `local` means at the edge. Each call is signed anew (a retry
 * too), for the tenant it is made for. The machine is ours, so what must stay local may go there.
 */
export function tidegate({ name, baseUrl, secret, transport, now = Date.now }: TidegateOptions): Provider {
  const plain = createUpstream({ transport, baseUrl, sign: (request) => request, secrets: [secret] });
  const signed = async (call: UpstreamCall, { tenant = 'edge' }: CallOptions): Promise<UpstreamCall> => {
    const { method = 'POST', path, body } = call;
    const digest = await bodyDigest(body);
    const claims = { tenant, nonce: randomId('') };
    const token = await signGatewayToken(secret, claims, { method, path, bodyDigest: digest }, now());
    return { ...call, headers: { ...call.headers, authorization: `Bearer ${token}`, [bodyDigestHeader]: digest } };
  };
  const upstream: Upstream = {
    send: async (call, options) => plain.send(await signed(call, options), options),
    json: async (call, options) => plain.json(await signed(call, options), options),
  };
  return openai({
    name,
    capabilities: tidegateCapabilities,
    oddities: { prefill: 'continue_final_message' },
    upstream,
  });
}
