import type { Transport } from '../core/transport.ts';
import { createHttp1 } from './http1/pool.node.ts';
import { lazyTransport } from './lazy.ts';
import type { UndiciTransportOptions } from './undici.ts';

export interface PooledTransportOptions {
  /** Most time to connect. */
  readonly connectTimeoutMs?: number;
  /** How long an unused connection is kept. */
  readonly keepAliveMs?: number;
}

/**
 * Upstreams on Node, over connections that are kept. Plain `http://`, as the servers of one's own speak it, goes a way of
 * its own at a third of the CPU; TLS and whatever is not plainly a request goes through undici, which serves as its oracle
 * in the tests.
 */
export function createPooledTransport({
  connectTimeoutMs = 3000,
  keepAliveMs = 30_000,
}: PooledTransportOptions = {}): Transport {
  const plain = createHttp1({ connectTimeoutMs, keepAliveMs });
  const general = generalTransport({ connectTimeoutMs, keepAliveMs });
  return {
    send(request, options) {
      const sent = request.url.startsWith('http://') ? plain.send(request, options.signal) : undefined;
      return sent ?? general.send(request, options);
    },
    async close() {
      plain.close();
      await general.close?.();
    },
  };
}

/** Reaches public addresses only, also after DNS: for addresses that requests bring. */
export const createPublicTransport = (): Transport => generalTransport({ publicOnly: true });

const generalTransport = (options: UndiciTransportOptions): Transport =>
  lazyTransport(async () => {
    const { createUndiciTransport } = await import('./undici.ts');
    return createUndiciTransport(options);
  });
