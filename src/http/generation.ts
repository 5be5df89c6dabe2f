import { toGatewayError } from '../core/errors.ts';
import type { ChatRequest } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import { collect, forEachOf } from '../core/streams.ts';
import { encodeEvent, type WireFormat } from '../wire/format.ts';
import { parseJsonObject, readBody } from './body.ts';
import { type Exchange, endpoint, reportFault, utf8Length } from './endpoint.ts';
import { type AppContext, type HttpDeps, headersOf } from './env.ts';
import { answerResumed, comesBack, sendResumable, wantsResumable } from './resume.ts';
import { answerHead, metaOf } from './run-meta.ts';

/** What a route may put in front of a generation: another gateway, format or request for this one. */
export type Adapt = (
  request: ChatRequest,
  context: RequestContext,
) => { readonly deps: HttpDeps; readonly format: WireFormat; readonly request: ChatRequest } | undefined;

/** An endpoint whose streams can be come back to: a request with `Last-Event-ID` gets the rest, and nothing is made anew. */
export const resumable: typeof endpoint = (deps, encodeFault, handle) =>
  endpoint(deps, encodeFault, async (c, exchange) => {
    if (deps.streams && comesBack(exchange.context) && (await answerResumed(deps, deps.streams, exchange))) return;
    await handle(c, exchange);
  });

/** A route that generates: the same for every dialect, only the format differs. */
export function generation(
  deps: HttpDeps,
  format: WireFormat,
  adapt: Adapt = () => undefined,
): (c: AppContext) => Promise<Response> {
  return resumable(deps, format.encodeError, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const request = format.decode(parseJsonObject(bytes), { bytes, headers: headersOf(c) });
    const adapted = adapt(request, exchange.context) ?? { deps, format, request };
    await answer(adapted.deps, adapted.format, adapted.request, exchange);
  });
}

/** Sends the answer to a decoded request, streamed or whole. */
export function answer(deps: HttpDeps, format: WireFormat, request: ChatRequest, exchange: Exchange): Promise<void> {
  if (request.stream && deps.streams && wantsResumable(exchange.context) && format.streamType.startsWith('text/')) {
    const meta = metaOf(request, undefined, exchange.context);
    return sendResumable(deps, deps.streams, format, request, meta, exchange);
  }
  const running = deps.gateway.stream(request, exchange.context);
  return request.stream
    ? sendStream(deps, format, request, running, exchange)
    : sendWhole(format, request, running, exchange);
}

async function sendWhole(
  format: WireFormat,
  request: ChatRequest,
  running: Promise<Run>,
  exchange: Exchange,
): Promise<void> {
  const run = await running;
  const collecting = collect(run.events);
  const collected = collecting instanceof Promise ? await collecting : collecting; // mostly all of it is there
  const { sink, headers, context } = exchange;
  const { wire } = collected;
  const body = wire ?? JSON.stringify(format.encodeWhole(collected, metaOf(request, run, context)));
  const length = typeof body === 'string' ? utf8Length(body) : body.length;
  const head = answerHead(headers, run, context);
  head.push('content-type', 'application/json', 'content-length', String(length));
  sink.start(200, head);
  sink.end(body);
}

/**
 * The first event decides: a failure before it is an HTTP status. A request that has to wait longer than a heartbeat
 * for it gets its head and comments meanwhile, and a failure then is the stream's last event.
 */
async function sendStream(
  deps: HttpDeps,
  format: WireFormat,
  request: ChatRequest,
  running: Promise<Run>,
  { context, sink, headers }: Exchange,
): Promise<void> {
  const { heartbeatMs } = deps.options;
  const head = {
    ...headers,
    'content-type': format.streamType,
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  };
  let waiting: ReturnType<typeof setTimeout> | undefined;
  let lastWriteMs = performance.now();
  const beat = () => {
    const silentMs = performance.now() - lastWriteMs;
    if (silentMs >= heartbeatMs && format.ping !== undefined) {
      if (!sink.started) sink.start(200, head);
      lastWriteMs = performance.now();
      void sink.write(format.ping);
    }
    waiting = setTimeout(beat, Math.max(1, heartbeatMs - (performance.now() - lastWriteMs)));
  };
  waiting = setTimeout(beat, heartbeatMs);

  let encoder: ReturnType<WireFormat['encodeStream']> | undefined;
  try {
    const run = await running;
    const encoding = format.encodeStream(metaOf(request, run, context));
    encoder = encoding;
    if (!sink.started) sink.start(200, answerHead(head, run, context));
    let passing = false; // the upstream's own bytes go out: what is told beside them is for the record only
    await forEachOf(run.events, (event) => {
      if (sink.gone) return false;
      if (event.type === 'wire') passing = true;
      else if (event.type === 'takeover') passing = false;
      const chunk = event.type === 'wire' ? event.bytes : passing ? '' : encodeEvent(encoding, event);
      if (chunk.length === 0) return undefined;
      lastWriteMs = performance.now();
      return sink.write(chunk);
    });
    sink.end(passing ? undefined : encoding.end());
  } catch (thrown) {
    if (!sink.started) throw thrown;
    const error = toGatewayError(thrown);
    if (sink.gone) sink.destroy();
    else sink.end((encoder ?? format.encodeStream(metaOf(request, undefined, context))).error(error));
    if (error.kind === 'internal') reportFault(deps, thrown, context.requestId);
  } finally {
    clearTimeout(waiting);
  }
}
