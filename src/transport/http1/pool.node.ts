import { abortError } from '../../core/signals.ts';
import type { TransportRequest, TransportResponse } from '../../core/transport.ts';
import { atTurnEnd } from '../turn-end.node.ts';
import { type Address, Connection, type ConnectionOptions } from './connection.node.ts';
import { Http1Exchange } from './exchange.node.ts';
import { requestHead } from './request-head.ts';

export interface Http1Options {
  readonly connectTimeoutMs: number;
  /** How long a connection rests at most, where the peer says nothing. */
  readonly keepAliveMs: number;
}

/** HTTP/1.1 without TLS over connections that are kept. */
export interface Http1 {
  /** Undefined for a request that is not plainly one of this kind: nothing was sent. */
  send(request: TransportRequest, signal: AbortSignal): Promise<TransportResponse> | undefined;
  close(): void;
}

/** One origin: where it is, and its connections that rest, the one used last at the end. */
interface Origin extends Address {
  readonly hostHeader: string;
  readonly resting: Connection[];
  /** Those whose answer ended in this turn of the event loop: a peer that closes behind it has not been heard yet. */
  readonly fresh: Connection[];
}

interface Located {
  readonly origin: Origin;
  readonly path: string;
}

const longestRestMs = 600_000;
/** So much earlier than the peer closes a connection it is not used any more. */
const restMarginMs = 2000;
const sweepMs = 1000;
const mostUrls = 256;

export function createHttp1({ connectTimeoutMs, keepAliveMs }: Http1Options): Http1 {
  const origins = new Map<string, Origin>();
  const urls = new Map<string, Located>();
  const open = new Set<Connection>();
  let sweeping: ReturnType<typeof setInterval> | undefined;
  let closed = false;

  const sweep = () => {
    const now = performance.now();
    for (const { resting } of origins.values()) {
      for (const each of resting.splice(0)) {
        if (each.usable && now < each.restsUntilMs) {
          each.letGo();
          resting.push(each);
        } else each.close();
      }
    }
  };

  const originOf = (text: string): Origin | undefined => {
    const known = origins.get(text);
    if (known) return known;
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.username !== '' || url.password !== '') return undefined;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const origin = { host, port: Number(url.port || 80), hostHeader: url.host, resting: [], fresh: [] };
    origins.set(text, origin);
    return origin;
  };
  /** Looked up once an address: there are few, and each request names one. */
  const locate = (url: string): Located | undefined => {
    const known = urls.get(url);
    if (known) return known;
    const at = url.indexOf('/', 'http://'.length);
    const origin = originOf(at < 0 ? url : url.slice(0, at));
    if (!origin) return undefined;
    const located = { origin, path: at < 0 ? '/' : url.slice(at) };
    if (urls.size >= mostUrls) urls.clear();
    urls.set(url, located);
    return located;
  };

  const connectionsOf = (origin: Origin): ConnectionOptions => ({
    connectTimeoutMs,
    onRest(connection, idleMs) {
      const restMs = idleMs === undefined ? keepAliveMs : Math.min(idleMs - restMarginMs, longestRestMs);
      if (restMs <= 0) return connection.close();
      connection.restsUntilMs = performance.now() + restMs;
      if (origin.fresh.push(connection) === 1) atTurnEnd(() => origin.resting.push(...origin.fresh.splice(0)));
    },
    onClose: (connection) => void open.delete(connection),
  });
  const connect = (origin: Origin): Connection => {
    sweeping ??= setInterval(sweep, sweepMs).unref();
    const connection = new Connection(origin, connectionsOf(origin));
    open.add(connection);
    return connection;
  };
  const usable = (from: Connection[], now: number): Connection | undefined => {
    for (let last = from.pop(); last; last = from.pop()) {
      if (last.usable && now < last.restsUntilMs) return last;
      last.close();
    }
    return undefined;
  };
  /** Nothing is sent twice: of a peer that had closed, a request only hears as long as it waits for its turn to be sent. */
  const sendOver = (origin: Origin, exchange: Http1Exchange, head: string, body: Uint8Array | undefined): void => {
    const now = performance.now();
    const anew = () => (closed ? exchange.fail(new Error('closed')) : connect(origin).begin(exchange, head, body, 1));
    const rested = usable(origin.resting, now);
    if (rested) rested.begin(exchange, head, body, 1, anew);
    else {
      const fresh = usable(origin.fresh, now);
      if (fresh) fresh.begin(exchange, head, body, 2, anew);
      else anew();
    }
  };

  return {
    send(request, signal) {
      const located = locate(request.url);
      if (!located) return undefined;
      const { origin, path } = located;
      const body = typeof request.body === 'string' ? Buffer.from(request.body) : request.body;
      const head = requestHead(request, origin.hostHeader, path, body?.length);
      if (head === undefined) return undefined;
      return new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(abortError(signal));
          return;
        }
        sendOver(origin, new Http1Exchange(signal, resolve, reject), head, body);
      });
    },
    close() {
      closed = true;
      clearInterval(sweeping);
      sweeping = undefined;
      for (const connection of open) connection.close();
    },
  };
}
