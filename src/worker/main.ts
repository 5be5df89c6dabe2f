import type { After, EdgeBindings } from '../edge/bindings.ts';
import { type ConfigSource, createConfigSource } from '../edge/config-source.ts';
import { createFetchTransport } from '../transport/fetch.ts';
import { type App, buildEdgeGateway, type EdgeGateway, edgeStates } from './gateway.ts';
import { openEdgeStores } from './state.ts';
import { createStreamObject, type ServeStream } from './stream-object.ts';
import { throughObject } from './stream-requests.ts';

export { TidegateState } from '../edge/state-object.ts';

interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void;
  passThroughOnException(): void;
}

const log = (level: string, fields: object) => console.log(JSON.stringify({ level, ...fields }));

/** What one isolate serves by: made with its first request, renewed when the configuration in KV changes. */
async function open(bindings: EdgeBindings): Promise<ConfigSource<EdgeGateway>> {
  const { TIDEGATE_KV: kv, TIDEGATE_CONFIG: text = 'models: {}' } = bindings;
  const stores = await openEdgeStores(bindings);
  const [transport, states] = [createFetchTransport(), edgeStates()];
  const source: ConfigSource<EdgeGateway> = createConfigSource({
    read: async () => (await kv?.get('config')) ?? text,
    readGood: async () => (await kv?.get('config:good')) ?? null,
    // For isolates that begin while the newest text is not good.
    onGood: async (good) => {
      if (kv && good !== text && (await kv.get('config:good')) !== good) await kv.put('config:good', good);
    },
    onBad: (error) =>
      log('error', {
        msg: 'the configuration cannot be used; the one before goes on serving',
        error: error instanceof Error ? error.message : String(error),
      }),
    build: (newest) =>
      buildEdgeGateway(newest, newest === text ? 'TIDEGATE_CONFIG' : 'config in TIDEGATE_KV', {
        bindings,
        stores,
        transport,
        states,
        log,
        health: () => (source.problem() === undefined ? {} : { config: 'invalid: the one before serves' }),
      }),
  });
  return source;
}

let opened: Promise<ConfigSource<EdgeGateway>> | undefined;

/** Answers with the gateway of this isolate; what a request leaves to be written is written before its `waitUntil` ends. */
async function serve(
  request: Request,
  bindings: EdgeBindings,
  after: After,
  appOf: (gateway: EdgeGateway) => App,
): Promise<Response> {
  try {
    opened ??= open(bindings);
    const gateway = await (await opened).current(after);
    gateway.begun(after);
    const waitUntil = (work: Promise<unknown>) => after(work.finally(() => gateway.ended()));
    // The bindings stay here: routes see none.
    return await appOf(gateway).fetch(request, {}, { props: {}, waitUntil, passThroughOnException: () => {} });
  } catch (error) {
    opened = undefined; // the next request tries again: the database may be back, the configuration better
    log('error', { msg: 'the gateway cannot start', error: error instanceof Error ? error.message : String(error) });
    const message = 'The gateway cannot start; its log says why.';
    const body = { error: { message, type: 'server_error', param: null, code: 'unavailable' } };
    return Response.json(body, { status: 503, headers: { 'retry-after': '5' } });
  }
}

const serveStream: ServeStream = (request, bindings, { answerId, logs, waitUntil }) =>
  serve(request, bindings, waitUntil, ({ appFor }) => appFor({ streams: logs, answerId: () => answerId }));

/** Answers that outlive their readers, one object each. */
export class TidegateStream extends createStreamObject(serveStream) {}

export default {
  async fetch(request: Request, bindings: EdgeBindings, context: ExecutionContext): Promise<Response> {
    const { TIDEGATE_STREAMS: streams } = bindings;
    const elsewhere = streams && (await throughObject(request, streams));
    if (elsewhere) return elsewhere;
    return serve(
      request,
      bindings,
      (work) => context.waitUntil(work),
      ({ app }) => app,
    );
  },
};
