import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import { Agent } from 'undici';
import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import type { Transport, TransportRequest, TransportResponse } from '../core/transport.ts';
import { assertPublicUrl } from './guard.ts';
import { isPrivateAddress } from './private-address.ts';
import { guardedConnector, type PausedAnswers } from './undici-connector.node.ts';
import { UndiciExchange } from './undici-exchange.node.ts';

export interface UndiciTransportOptions {
  /** Most time for DNS, TCP and TLS together. */
  readonly connectTimeoutMs?: number;
  /** How long an unused connection is kept. */
  readonly keepAliveMs?: number;
  /** Most connections per origin; absent means as many as there are requests at once. */
  readonly connections?: number;
  /** Refuse loopback, private and metadata addresses, by name and after resolution: for URLs that users supply. */
  readonly publicOnly?: boolean;
  /** Who resolves names then. */
  readonly resolveName?: typeof lookup;
}

/**
 * Upstreams over long-lived connection pools, below fetch: undici's `dispatch`, no web streams (a sixth of the CPU per
 * chunk). First-token, idle and total deadlines are the caller's, through `signal`.
 */
export function createUndiciTransport({
  connectTimeoutMs = 3000,
  keepAliveMs = 30_000,
  connections,
  publicOnly = false,
  resolveName = lookup,
}: UndiciTransportOptions = {}): Transport {
  const paused: PausedAnswers = new Set();
  const judged = publicOnly ? { lookup: publicLookup(resolveName) } : {};
  const agent = new Agent({
    connect: guardedConnector({ timeout: connectTimeoutMs, keepAliveInitialDelay: 30_000, ...judged }, paused),
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: 600_000,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 64 * 1024,
    pipelining: 1,
    ...(connections === undefined ? {} : { connections }),
  });
  return {
    send: publicOnly
      ? async (request, { signal }) => {
          assertPublicUrl(request.url);
          return send(agent, paused, request, signal);
        }
      : (request, { signal }) => send(agent, paused, request, signal),
    close: () => agent.destroy(),
  };
}

function send(agent: Agent, paused: PausedAnswers, request: TransportRequest, signal: AbortSignal) {
  return new Promise<TransportResponse>((resolve, reject) => {
    if (signal.aborted) {
      reject(abortError(signal));
      return;
    }
    const exchange = new UndiciExchange(signal, paused, resolve, reject);
    const { origin, path } = splitUrl(request.url);
    try {
      agent.dispatch(
        {
          origin,
          path,
          method: request.method,
          headers: request.headers as Record<string, string> | string[], // only read
          body: request.body ?? null,
        },
        exchange,
      );
    } catch (error) {
      exchange.onError(
        new GatewayError('internal', 'The request to the upstream could not be built.', { cause: error }),
      );
    }
  });
}

interface SplitUrl {
  readonly origin: string;
  readonly path: string;
}

/** Of the addresses asked last, so that undici finds its pool by the very string it knows. */
const splitUrls = new Map<string, SplitUrl>();
const mostSplitUrls = 256;

function splitUrl(url: string): SplitUrl {
  const known = splitUrls.get(url);
  if (known) return known;
  const at = url.indexOf('/', url.indexOf('://') + 3);
  const split = at < 0 ? { origin: url, path: '/' } : { origin: url.slice(0, at), path: url.slice(at) };
  if (splitUrls.size >= mostSplitUrls) splitUrls.clear();
  splitUrls.set(url, split);
  return split;
}

type LookupCallback = (
  error: NodeJS.ErrnoException | GatewayError | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

/** DNS that refuses names with any private address, so that rebinding between check and connect is impossible. */
const publicLookup =
  (resolveName: typeof lookup) =>
  (hostname: string, options: LookupOptions, callback: LookupCallback): void => {
    resolveName(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      if (addresses.length === 0 || addresses.some(({ address }) => isPrivateAddress(address))) {
        return callback(new GatewayError('forbidden', 'The base URL must lead to a public address.'), []);
      }
      if (options.all) return callback(null, addresses);
      const [first] = addresses;
      return callback(null, first?.address ?? '', first?.family);
    });
  };
