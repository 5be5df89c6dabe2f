import type { Context } from 'hono';
import type { Json, JsonObject } from '../core/json.ts';
import type { RequestContext } from '../core/run.ts';
import type { Gateway } from '../gateway.ts';
import type { HttpSample } from '../observability/metrics.ts';
import type { Policy } from '../policy/admit.ts';
import type { ActiveRequests } from './active.ts';
import type { StreamLogs } from './stream-log.ts';

/** The part of node:http's IncomingMessage that we use, so that this room stays edge-safe. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly complete: boolean;
  /** All of the body, where it is here from the start. */
  readonly body?: Uint8Array;
  /** Bytes that have come and wait to be read. */
  readonly readableLength?: number;
  /** All of those. */
  read?(): Uint8Array | null;
  on?(event: 'data', listener: (piece: Uint8Array) => void): unknown;
  on?(event: 'end' | 'close', listener: () => void): unknown;
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

/** Lower-case names and values: as a record, or as a list of both in turn, which node writes out without looking them up. */
export type AnswerHeaders = Readonly<Record<string, string>> | string[];

/** The part of node:http's ServerResponse that we use. */
export interface NodeResponse {
  readonly writableFinished: boolean;
  readonly statusCode: number;
  readonly headersSent: boolean;
  readonly destroyed: boolean;
  /** A write did not fit, and its `drain` is still to come. */
  readonly writableNeedDrain: boolean;
  writeHead(status: number, headers: AnswerHeaders): unknown;
  write(chunk: string | Uint8Array): unknown;
  end(chunk?: string | Uint8Array): unknown;
  destroy(): unknown;
  cork(): void;
  uncork(): void;
  on(event: 'close', listener: () => void): unknown;
  once(event: 'close' | 'drain', listener: () => void): unknown;
  off(event: 'close' | 'drain', listener: () => void): unknown;
}

/** Present on Node only, given by @hono/node-server; at the edge `c.env` holds the bindings instead. */
export interface NodeBindings {
  readonly incoming?: NodeRequest;
  readonly outgoing?: NodeResponse;
}

export type AppEnv = { Bindings: NodeBindings };

/** What a route reads of its request: the part of Hono's context that `DirectContext` gives too, without a web `Request`. */
export interface AppContext {
  readonly env: NodeBindings;
  readonly req: AppRequest;
  /** The route's pattern, where it was found without Hono. */
  readonly route?: string;
  /** Of Workers; Hono throws where there is none. */
  readonly executionCtx?: Pick<Context['executionCtx'], 'waitUntil'>;
}

export interface AppRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Absolute, with the query. */
  readonly url: string;
  /** Not on Node's hot path: it has to be built there. */
  readonly raw: Request;
  param(name: string): string | undefined;
  query(): Record<string, string>;
  query(name: string): string | undefined;
}

/** `again`: the answer was made before. Throws conflict where the key came with another body. */
export type Once = (
  body: JsonObject,
  context: RequestContext,
  make: () => Promise<Json>,
) => Promise<{ readonly value: Json; readonly again: boolean }>;

/** What every route needs. */
export interface HttpDeps {
  readonly gateway: Gateway;
  readonly policy: Policy;
  readonly active: ActiveRequests;
  /** Makes a whole answer once for an Idempotency-Key; absent: the header means nothing there. */
  readonly once?: Once;
  /** Names the next answer; random if absent. */
  readonly answerId?: () => string;
  /** Streams that outlive their reader; absent: none do. */
  readonly streams?: StreamLogs;
  readonly options: HttpOptions;
  /** Told of what should not have happened: a fault that no client caused. On the console if absent. */
  readonly onFault?: (fault: unknown, requestId: string) => void;
  /** Told of every answered request, for the metrics. */
  readonly observe?: (request: HttpSample) => void;
}

export interface HttpOptions {
  /** Share of new traces that are sampled; all if absent. A client's own decision holds. */
  readonly traceRatio?: number;
  readonly maxBodyBytes: number;
  /** A stream that is silent for so long sends a comment. */
  readonly heartbeatMs: number;
  /** A reader that takes nothing for so long is dropped. */
  readonly slowReaderMs: number;
  /**
   * Origins that browsers may call from; `*` for all, `loopback` for pages served on this machine. Undefined: `loopback`
   * while everybody is let in, `*` where keys are asked for.
   */
  readonly origins: readonly string[] | undefined;
  /** Host names that requests may carry; empty for all; undefined as above. Guards an open gateway against DNS rebinding. */
  readonly hosts: readonly string[] | undefined;
}

export const defaultHttpOptions: HttpOptions = {
  maxBodyBytes: 32 * 1024 * 1024,
  heartbeatMs: 10_000,
  slowReaderMs: 60_000,
  origins: ['loopback'],
  hosts: [],
};

/** Request headers, lower-case, without building a web `Headers` on Node. */
export function headersOf(c: AppContext): Readonly<Record<string, string>> {
  const { incoming } = c.env ?? {};
  if (!incoming) return Object.fromEntries(c.req.raw.headers);
  // Node joins repeated headers already, except set-cookie, which no client sends.
  return incoming.headers as Readonly<Record<string, string>>;
}

/** Lets work outlive the answer at the edge; undefined on Node, where nothing ends with a request. */
export function afterOf(c: AppContext): ((work: Promise<unknown>) => void) | undefined {
  if (c.env?.outgoing) return undefined;
  try {
    const { executionCtx } = c;
    return executionCtx && ((work) => executionCtx.waitUntil(work));
  } catch {
    return undefined; // called without one, as tests do
  }
}
