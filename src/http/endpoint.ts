import type { Context } from 'hono';
import { routePath } from 'hono/route';
import { randomId, systemClock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { Caller, RequestContext } from '../core/run.ts';
import { withDeadline } from '../core/signals.ts';
import { beginTrace } from '../core/trace.ts';
import { checkEndpoint } from '../policy/scope.ts';
import { errorHeaders } from '../wire/openai/errors.ts';
import { shuttingDown } from './active.ts';
import { corsHeaders, isForeignPage, isLoopbackHost } from './cors.ts';
import { type AppContext, afterOf, type HttpDeps, headersOf } from './env.ts';
import { alreadySent, respond, type Sink } from './sink.ts';

/** One request inside a route: who asks, how to answer. */
export interface Exchange {
  readonly context: RequestContext;
  readonly sink: Sink;
  /** Headers that every answer of this request carries. */
  readonly headers: Readonly<Record<string, string>>;
  json(body: unknown, status?: number, headers?: Readonly<Record<string, string>>): void;
}

/** How a failure before the answer's first byte is told; each dialect has its own envelope. */
export type ErrorBody = (error: GatewayError, requestId: string) => object;

/**
 * Wraps a route: request id, host check, authentication, deadline, error envelope. No Hono middleware, because what it
 * would set on a `Response` never reaches node's own response on the hot path.
 */
export function endpoint(
  deps: HttpDeps,
  errorBody: ErrorBody,
  handle: (c: AppContext, exchange: Exchange) => Promise<void>,
  { authenticated = true }: { readonly authenticated?: boolean } = {},
): (c: AppContext) => Promise<Response> {
  return (c) => {
    const startedMs = systemClock.now();
    const asked = headersOf(c);
    const requestId = requestIdOf(asked['x-request-id']);
    const ids = { 'x-request-id': requestId, 'request-id': requestId };
    return respond(c, deps.options.slowReaderMs, async (sink) => {
      const origins = asked['origin'] === undefined ? [] : await originsOf(deps);
      const headers = asked['origin'] === undefined ? ids : { ...ids, ...corsHeaders(asked['origin'], origins) };
      const json: Exchange['json'] = (body, status = 200, more = {}) => {
        const text = JSON.stringify(body);
        sink.start(status, {
          ...headers,
          ...more,
          'content-type': 'application/json',
          'content-length': String(utf8Length(text)),
        });
        sink.end(text);
      };
      const timeoutMs = timeoutOf(asked['x-tidegate-timeout-ms']);
      const deadline = withDeadline(sink.signal, timeoutMs, 'The request');
      const leave = deps.active.add(sink);
      try {
        if (authenticated && deps.active.closing) throw shuttingDown();
        if (Number.isNaN(timeoutMs)) throw badTimeout();
        const { hosts } = deps.options;
        if (!isHostAllowed(asked['host'], hosts ?? thisMachine) && (hosts || (await isOpen(deps))))
          throw otherHost(asked);
        if (isForeignPage(asked, origins)) throw foreignPage(asked);
        const known = authenticated ? deps.policy.authenticate(asked, c.req) : nobody;
        const caller = known instanceof Promise ? await known : known; // mostly nothing has to be looked up
        checkEndpoint(caller, c.req.path);
        const context: RequestContext = {
          requestId,
          caller,
          signal: deadline.signal,
          endpoint: c.req.path,
          startedMs,
          headers: asked,
          answerId: deps.answerId?.() ?? randomId(''),
          trace: beginTrace(asked, deps.options.traceRatio),
          after: afterOf(c),
        };
        await handle(c, { context, sink, headers, json });
      } catch (thrown) {
        const error = toGatewayError(thrown);
        if (sink.started || sink.gone) sink.destroy();
        else json(errorBody(error, requestId), error.status, errorHeaders(error));
        if (error.kind === 'internal') reportFault(deps, thrown, requestId);
      } finally {
        deadline.clear();
        leave();
        deps.observe?.({ route: routeOf(c), method: c.req.method, status: sink.status });
      }
      return alreadySent;
    });
  };
}

const routeOf = (c: AppContext): string => c.route ?? routePath(c as Context); // Hono's own, where no route was given

/** A fault of ours is for whoever runs the gateway; the client was told all that it may know. */
export const reportFault = ({ onFault = console.error }: HttpDeps, fault: unknown, requestId: string): void =>
  onFault(fault, requestId);

/** Who asks where nobody needs a key: may do nothing that is asked of a caller. */
const nobody: Caller = { id: 'nobody', role: 'caller', tags: [], tenant: 'nobody' };

function requestIdOf(given: string | undefined): string {
  return given && /^[\w.:-]{1,128}$/.test(given) ? given : randomId('req_');
}

/** Milliseconds, a day at most; undefined where none are asked for, NaN for what is no time. */
function timeoutOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = value.trim() === '' ? Number.NaN : Number(value);
  return ms > 0 ? Math.min(ms, 24 * 3600_000) : Number.NaN;
}

const badTimeout = (): GatewayError =>
  new GatewayError('invalid_request', "Invalid header 'x-tidegate-timeout-ms': use milliseconds, more than 0.", {
    code: 'invalid_value',
    param: 'x-tidegate-timeout-ms',
  });

const thisMachine = ['loopback'];
const everybody = ['*'];

/** Pages that may call: of the origins that are set, else of all where keys are asked for, and of this machine where not. */
export async function originsOf(deps: Pick<HttpDeps, 'options' | 'policy'>): Promise<readonly string[]> {
  return deps.options.origins ?? ((await isOpen(deps)) ? thisMachine : everybody);
}

/** Guarded as if open while nobody can tell. */
const isOpen = ({ policy }: Pick<HttpDeps, 'policy'>): Promise<boolean> => policy.open().catch(() => true);

function foreignPage(asked: Readonly<Record<string, string>>): GatewayError {
  const page = (asked['origin'] ?? '').slice(0, 100);
  return new GatewayError('forbidden', `Pages of '${page}' may not call this gateway; add it to server.origins.`);
}

/** The last host that was let in, and by which list: nearly all requests name the same. */
let known: { readonly host: string; readonly allowed: readonly string[] } | undefined;

function isHostAllowed(host: string | undefined, allowed: readonly string[]): boolean {
  if (allowed.length === 0 || host === undefined) return true;
  if (known?.host === host && known.allowed === allowed) return true;
  const name = host.replace(/:\d+$/, '').toLowerCase();
  if (!allowed.includes(name) && !(allowed.includes('loopback') && isLoopbackHost(name))) return false;
  known = { host, allowed };
  return true;
}

function otherHost(asked: Readonly<Record<string, string>>): GatewayError {
  const name = (asked['host'] ?? '').replace(/:\d+$/, '').toLowerCase().slice(0, 100);
  return new GatewayError('forbidden', `This gateway does not answer for the host '${name}'; add it to server.hosts.`);
}

const encoder = new TextEncoder();

/** Bytes of a text in UTF-8. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}
