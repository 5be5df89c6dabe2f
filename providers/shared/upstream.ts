import { GatewayError } from '../../src/core/errors.ts';
import type { CallOptions } from '../../src/core/provider.ts';
import {
  headersByName,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from '../../src/core/transport.ts';
import { parseAnswer, readText } from './read-body.ts';
import { upstreamError } from './upstream-error.ts';

/** Request headers by which a caller brings a key or an address of its own; they never leave as they came. */
const callerKeyHeader = 'x-tidegate-upstream-key';
const callerUrlHeader = 'x-tidegate-upstream-url';

/** How requests get their credentials: in a header that depends on nothing else, or by signing the whole request. */
export type Sign = KeyHeader | SignRequest;

export interface KeyHeader {
  readonly header: string;
  /** The header's value for the caller's own key, or else for ours; undefined where there is none. */
  value(own: string | undefined): string | undefined;
}

/** Adds the credentials to a request that is complete otherwise. `own` is the caller's own key, where one was brought. */
export type SignRequest = (
  request: NamedRequest,
  own: string | undefined,
) => TransportRequest | Promise<TransportRequest>;

/** A request whose headers can be asked for by name. */
export interface NamedRequest extends TransportRequest {
  readonly headers: Readonly<Record<string, string>>;
}

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
  readonly body?: string | Uint8Array | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

const mostUrls = 256;

export function createUpstream({
  transport,
  baseUrl,
  sign,
  headers = {},
  secrets = [],
  callers,
}: UpstreamOptions): Upstream {
  const base = baseUrl.replace(/\/+$/, '');
  const always = Object.entries({ 'user-agent': 'tidegate', ...headers }).flat();
  const withBody = ['content-type', 'application/json', ...always];

  const headersFor = (call: UpstreamCall, asked: CallOptions['headers'], own: string | undefined): string[] => {
    const sent = (call.body === undefined ? always : withBody).slice();
    for (const name in call.headers) put(sent, name, call.headers[name] ?? '');
    for (const name in asked) {
      const value = asked[name];
      if (value !== undefined && mayGoOn(name)) put(sent, name, value);
    }
    if (typeof sign === 'function') return sent;
    const value = sign.value(own);
    if (value !== undefined) put(sent, sign.header, value);
    return sent;
  };

  /** The same string for the same path each time: whoever looks up what belongs to an address need not hash it anew. */
  const urls = new Map<string, string>();
  const urlOf = (path: string): string => {
    let url = urls.get(path);
    if (url === undefined) {
      if (urls.size >= mostUrls) urls.clear();
      url = base + path;
      urls.set(path, url);
    }
    return url;
  };

  const upstream: Upstream = {
    send(call, options) {
      const own = broughtBy(options, callers);
      const request: TransportRequest = {
        method: call.method ?? 'POST',
        url: own.baseUrl === undefined ? urlOf(call.path) : own.baseUrl + call.path,
        headers: headersFor(call, options.headers, own.key),
        body: call.body,
      };
      const way = own.baseUrl === undefined ? transport : own.transport;
      const accept = (response: TransportResponse): TransportResponse | Promise<TransportResponse> =>
        response.status >= 200 && response.status < 300 ? response : refuse(response, own.key);
      if (typeof sign !== 'function') return way.send(request, options).then(accept);
      const named = { ...request, headers: headersByName(request.headers) };
      return Promise.resolve(sign(named, own.key))
        .then((signed) => way.send(signed, options))
        .then(accept);
    },
    async json(call, options) {
      const response = await upstream.send(call, options);
      return { body: parseAnswer(await readText(response.body)), response };
    },
  };
  const refuse = async (response: TransportResponse, own: string | undefined): Promise<never> => {
    throw await upstreamError(response, { secrets: own === undefined ? secrets : [...secrets, own] });
  };
  return upstream;
}

/** Sets a header in a list of some ten. */
function put(headers: string[], name: string, value: string): void {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] !== name) continue;
    headers[at + 1] = value;
    return;
  }
  headers.push(name, value);
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
  const baseUrl = url.replace(/(?<!\/)\/+$/, ''); // tried once, not from each of a caller's thousand slashes
  return { key, baseUrl, transport: callers.transport };
}

/** Trace context and request id go on; credentials and our own headers never do. */
const mayGoOn = (name: string): boolean => !name.startsWith('x-tidegate-') && !credentials.has(name);
const credentials = new Set(['authorization', 'x-api-key', 'api-key', 'cookie']);

/** The request with a key as `authorization: Bearer …`. */
export const withBearer = (request: NamedRequest, key: string): NamedRequest => ({
  ...request,
  headers: { ...request.headers, authorization: `Bearer ${key}` },
});

/** `authorization: Bearer …`, or the same key under another header's name. Without a key nothing is added. */
export function signWithKey(apiKey: string | undefined, header = 'authorization'): KeyHeader {
  const headerOf = (key: string | undefined) =>
    key === undefined || key === '' ? undefined : header === 'authorization' ? `Bearer ${key}` : key;
  const ours = headerOf(apiKey);
  return { header, value: (own) => (own === undefined ? ours : headerOf(own)) };
}
