import { GatewayError } from '../../src/core/errors.ts';
import type { CallOptions } from '../../src/core/provider.ts';
import type { Transport, TransportRequest, TransportResponse } from '../../src/core/transport.ts';
import { parseAnswer, readText } from './read-body.ts';
import { upstreamError } from './upstream-error.ts';

/** Request headers by which a caller brings a key or an address of its own; they never leave as they came. */
export const callerKeyHeader = 'x-tidegate-upstream-key';
export const callerUrlHeader = 'x-tidegate-upstream-url';

/** Adds the credentials to a request that is complete otherwise. `key` is the caller's own, where one was brought. */
export type Sign = (request: TransportRequest, key: string | undefined) => TransportRequest | Promise<TransportRequest>;

export interface UpstreamOptions {
  readonly transport: Transport;
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly sign: Sign;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Never to be seen in an error. */
  readonly secrets?: readonly string[];
  readonly callers?: CallerRights;
}

/** What callers may bring themselves. Nothing, unless the configuration says so. */
export interface CallerRights {
  /** A request may bring its own key in `x-tidegate-upstream-key`. */
  readonly keys: boolean;
  /** Hosts that a request may name in `x-tidegate-upstream-url`; only with a key of its own. */
  readonly hosts: readonly string[];
  /** Reaches public addresses only. */
  readonly transport: Transport;
}

/** One upstream's address and credentials: what every provider sends through. */
export interface Upstream {
  /** Resolves with a 2xx answer; any other is thrown as the GatewayError it means. */
  send(call: UpstreamCall, options: CallOptions): Promise<TransportResponse>;
  /** The whole answer as JSON. */
  json(
    call: UpstreamCall,
    options: CallOptions,
  ): Promise<{ readonly body: unknown; readonly response: TransportResponse }>;
}

export interface UpstreamCall {
  readonly method?: TransportRequest['method'];
  /** Below the base URL, with its query. */
  readonly path: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export function createUpstream({
  transport,
  baseUrl,
  sign,
  headers = {},
  secrets = [],
  callers,
}: UpstreamOptions): Upstream {
  const base = baseUrl.replace(/\/+$/, '');
  const upstream: Upstream = {
    async send(call, options) {
      const own = broughtBy(options, callers);
      const request: TransportRequest = {
        method: call.method ?? 'POST',
        url: `${own.baseUrl ?? base}${call.path}`,
        headers: {
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
          'user-agent': 'tidegate',
          ...headers,
          ...call.headers,
          ...forwardable(options.headers),
        },
        ...(call.body === undefined ? {} : { body: call.body }),
      };
      const signing = sign(request, own.key);
      const signed = signing instanceof Promise ? await signing : signing;
      const response = await (own.baseUrl === undefined ? transport : own.transport).send(signed, options);
      if (response.status >= 200 && response.status < 300) return response;
      throw await upstreamError(response, { secrets: own.key === undefined ? secrets : [...secrets, own.key] });
    },
    async json(call, options) {
      const response = await upstream.send(call, options);
      return { body: parseAnswer(await readText(response.body)), response };
    },
  };
  return upstream;
}

/** What the request's own headers ask for, where the configuration allows it; otherwise `forbidden`. */
function broughtBy({ headers = {} }: CallOptions, callers: CallerRights | undefined) {
  const key = headers[callerKeyHeader];
  const url = headers[callerUrlHeader];
  if (key === undefined && url === undefined) return {};
  if (!callers?.keys) {
    throw new GatewayError('forbidden', 'This provider does not take keys or addresses from requests.');
  }
  if (url === undefined) return { key };
  let host = '';
  try {
    host = new URL(url).host;
  } catch {} // no URL: not on the list
  if (key === undefined || !callers.hosts.includes(host)) {
    throw new GatewayError(
      'forbidden',
      `'${callerUrlHeader}' needs a key of its own and a host that is allowed by name.`,
    );
  }
  return { key, baseUrl: url.replace(/\/+$/, ''), transport: callers.transport };
}

/** Trace context and request id go on; credentials and our own headers never do. */
function forwardable(headers: CallOptions['headers']): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name.startsWith('x-tidegate-')) continue;
    if (name === 'authorization' || name === 'x-api-key' || name === 'api-key' || name === 'cookie') continue;
    kept[name] = value;
  }
  return kept;
}

/** `authorization: Bearer …`, or the same key under another header's name. Without a key nothing is added. */
export function signWithKey(apiKey: string | undefined, header = 'authorization'): Sign {
  return (request, own) => {
    const key = own ?? apiKey;
    if (key === undefined || key === '') return request;
    const value = header === 'authorization' ? `Bearer ${key}` : key;
    return { ...request, headers: { ...request.headers, [header]: value } };
  };
}
