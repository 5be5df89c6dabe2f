import { randomId } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import type { AnswerMeta, StreamEncoder, WireFormat } from '../wire/format.ts';
import { encodeError } from '../wire/openai/errors.ts';
import { sseHeaders, ssePing } from '../wire/sse.ts';
import { type Exchange, endpoint } from './endpoint.ts';
import type { AppContext, HttpDeps } from './env.ts';
import { type StreamLog, type StreamLogs, splitEvents } from './stream-log.ts';

/** How long a resumable stream goes on without a listener. */
const abandonMs = 60_000;

/**
 * Makes an answer that does not end with its reader: the events go into `log`, the run ends when the log is aborted.
 * `settled` gets the encoder when all is said, before the last events are in the log.
 */
export function runDetached(
  deps: HttpDeps,
  request: ChatRequest,
  context: RequestContext,
  encoder: StreamEncoder,
  log: StreamLog,
  settled: () => Promise<void> = async () => {},
): void {
  const detached = { ...context, signal: log.signal };
  const work = async () => {
    deps.active.add(log);
    try {
      const run = await deps.gateway.stream(readable(request), detached);
      for await (const event of run.events) log.append(splitEvents(encoder.push(event)));
      const last = splitEvents(encoder.end());
      await settled();
      log.append(last);
    } catch (error) {
      const last = splitEvents(encoder.error(toGatewayError(error)));
      await settled().catch(() => {}); // the reader hears of the first failure
      log.append(last);
    } finally {
      log.close();
      deps.active.delete(log);
    }
  };
  void work();
}

/** Sends what the log holds after a position, and what comes, with comments into silences. */
export async function sendLog(
  deps: HttpDeps,
  log: StreamLog,
  after: number,
  exchange: Exchange,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { sink, context } = exchange;
  sink.start(200, { ...exchange.headers, ...headers, ...sseHeaders });
  let silent = true;
  const beat = setInterval(() => {
    if (silent) void sink.write(ssePing);
    silent = true;
  }, deps.options.heartbeatMs);
  try {
    for await (const entry of log.follow(after, context.signal)) {
      silent = false;
      const slow = sink.write(entry);
      if (slow) await slow;
      if (sink.gone) break;
    }
    sink.end();
  } finally {
    clearInterval(beat);
  }
}

/** True where the client asked for a stream that it can come back to; event ids break some SDKs, so only then. */
export const wantsResumable = ({ headers }: RequestContext): boolean =>
  headers['x-tidegate-resumable'] !== undefined && headers['x-tidegate-resumable'] !== 'false';

/** A stream whose events carry ids (`<stream>:<position>`), kept for whoever comes back with `Last-Event-ID`. */
export async function sendResumable(
  deps: HttpDeps,
  logs: StreamLogs,
  format: WireFormat,
  request: ChatRequest,
  meta: AnswerMeta,
  exchange: Exchange,
): Promise<void> {
  const log = logs.open(randomId('strm_'), exchange.context.caller.id, { abandonMs });
  runDetached(deps, request, exchange.context, format.encodeStream(meta), numbered(log));
  await sendLog(deps, log, -1, exchange, { 'x-tidegate-stream-id': log.id });
}

/** Puts the id line in front of each event that goes into the log. */
function numbered(log: StreamLog): StreamLog {
  let position = 0;
  return {
    ...log,
    signal: log.signal,
    get done() {
      return log.done;
    },
    append: (entries) => log.append(entries.map((entry) => `id: ${log.id}:${position++}\n${entry}`)),
  };
}

/** The log and position that a `Last-Event-ID` names; undefined without the header, not_found when it is over. */
export function resumePoint(
  logs: StreamLogs,
  { headers, caller }: RequestContext,
): { readonly log: StreamLog; readonly after: number } | undefined {
  const [, id, position] = /^(strm_\w+):(\d+)$/.exec(headers['last-event-id'] ?? '') ?? [];
  if (id === undefined) return undefined;
  const log = logs.find(id, caller.id);
  if (!log) throw lost();
  return { log, after: Number(position) };
}

const lost = () => new GatewayError('not_found', 'This stream is over or unknown; ask again without Last-Event-ID.');

/** `GET /v1/streams/{id}`: the rest of a resumable stream, after `Last-Event-ID` or from its beginning. */
export const resumeStream = (deps: HttpDeps, logs: StreamLogs) =>
  endpoint(deps, encodeError, async (c: AppContext, exchange) => {
    const { context } = exchange;
    const log = logs.find(c.req.param('id') ?? '', context.caller.id);
    if (!log) throw lost();
    const point = resumePoint(logs, context);
    await sendLog(deps, log, point?.log === log ? point.after : -1, exchange, { 'x-tidegate-stream-id': log.id });
  });
