import { randomId } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import { type AnswerMeta, encodeEvent, type StreamEncoder, type WireFormat } from '../wire/format.ts';
import { encodeError } from '../wire/openai/errors.ts';
import { sseHeaders, ssePing } from '../wire/sse.ts';
import { invalidValue } from '../wire/validate.ts';
import { type Exchange, endpoint } from './endpoint.ts';
import type { AppContext, HttpDeps } from './env.ts';
import { runHeaders } from './run-meta.ts';
import { type ReadableLog, type StreamLog, type StreamLogs, splitEvents } from './stream-log.ts';

/** How long a resumable stream goes on without a listener. */
const abandonMs = 60_000;

/** Why an answer ends that its gateway did not live to finish. */
export const makerGone = () =>
  new GatewayError('unavailable', 'The gateway that made this answer stopped before its end.', {
    code: 'gateway_stopped',
  });

export interface DetachedHooks {
  /** Called as events come into the log. */
  readonly progress?: () => void;
  /** Called when all is said, before the last events are in the log. */
  readonly settled?: () => Promise<void>;
}

/**
 * Makes an answer that does not end with its reader: the events go into `log`, the run ends when the log is aborted.
 * Resolves when the answer has begun, and rejects where none will; the log tells its reader of that too.
 */
export function runDetached(
  deps: HttpDeps,
  request: ChatRequest,
  context: RequestContext,
  encoder: StreamEncoder,
  log: StreamLog,
  { progress = () => {}, settled = async () => {} }: DetachedHooks = {},
): Promise<Run> {
  const detached = { ...context, signal: log.signal };
  const leave = deps.active.add(log);
  const running = deps.gateway.stream(readable(request), detached);
  const work = async () => {
    try {
      for await (const event of (await running).events) {
        log.append(splitEvents(encodeEvent(encoder, event)));
        progress();
      }
      const last = splitEvents(encoder.end());
      await settled();
      log.append(last);
    } catch (error) {
      const last = splitEvents(encoder.error(toGatewayError(error)));
      await settled().catch(() => {}); // the reader hears of the first failure
      log.append(last);
    } finally {
      await log.close();
      leave();
    }
  };
  const working = work();
  context.after?.(working); // at the edge it would end with the answer otherwise
  return running;
}

/** Sends what the log holds after a position, and what comes, with comments into silences. */
export async function sendLog(
  deps: HttpDeps,
  log: ReadableLog,
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

/**
 * A stream whose events carry ids (`<stream>:<position>`), kept for whoever comes back with `Last-Event-ID`. What fails
 * before its first event is an HTTP status here too, unless that takes longer than a heartbeat.
 */
export async function sendResumable(
  deps: HttpDeps,
  logs: StreamLogs,
  format: WireFormat,
  request: ChatRequest,
  meta: AnswerMeta,
  exchange: Exchange,
): Promise<void> {
  const { context } = exchange;
  const id = `strm_${context.answerId ?? randomId('')}`;
  const lastWords = lastWordsOf(format, meta).map((event) => `id: ${id}:{position}\n${event}`);
  const log = logs.open(id, context.caller.id, { abandonMs, lastWords });
  const waited = new AbortController();
  const begun = runDetached(deps, request, context, format.encodeStream(meta), numbered(log));
  const soon = sleep(deps.options.heartbeatMs, waited.signal).then(() => undefined);
  const run = await Promise.race([begun, soon]).finally(() => waited.abort());
  await sendLog(deps, log, -1, exchange, { ...(run && runHeaders(run, context)), ...streamHeader(log) });
}

const streamHeader = ({ id }: ReadableLog) => ({ 'x-tidegate-stream-id': id });

/** The failure as the last event of a stream in this format, where nothing is left that knows what came before it. */
function lastWordsOf(format: WireFormat, meta: AnswerMeta): string[] {
  const events = splitEvents(format.encodeStream(meta).error(makerGone()));
  // Of a response's events only the failure: what it began with the client has seen.
  const failing = events.filter((event) => !/^event: response\.(created|queued|in_progress)\n/.test(event));
  return failing.map((event) => event.replace(/"sequence_number":\d+/, '"sequence_number":{position}'));
}

/** Puts the id line in front of each event that goes into the log. */
function numbered(log: StreamLog): StreamLog {
  let position = 0;
  return {
    id: log.id,
    signal: log.signal,
    get state() {
      return log.state;
    },
    get length() {
      return log.length;
    },
    follow: log.follow,
    abort: log.abort,
    close: log.close,
    append: (entries) => log.append(entries.map((entry) => `id: ${log.id}:${position++}\n${entry}`)),
  };
}

interface ResumePoint {
  readonly log: ReadableLog;
  readonly after: number;
}

/** The log and position that a `Last-Event-ID` names; undefined without the header, not_found when it is over. */
async function resumePoint(logs: StreamLogs, { headers, caller }: RequestContext): Promise<ResumePoint | undefined> {
  const [, id, position] = /^(strm_\w+):(\d+)$/.exec(headers['last-event-id'] ?? '') ?? [];
  if (id === undefined) return undefined;
  const log = await logs.find(id, caller.id);
  if (!log) throw lost();
  const after = Number(position);
  // What the store has may be a little behind what was said.
  if (after >= log.length && log.state === 'done') {
    throw invalidValue('Last-Event-ID', `Invalid 'Last-Event-ID': the stream ends before event ${after}.`);
  }
  return { log, after };
}

const lost = () => new GatewayError('not_found', 'This stream is over or unknown; ask again without Last-Event-ID.');

/** Whether the request comes back for the rest of a stream, by its headers. */
export const comesBack = ({ headers }: RequestContext): boolean => headers['last-event-id'] !== undefined;

/** Answers a request that comes back for the rest of a stream; false for any other. */
export async function answerResumed(deps: HttpDeps, logs: StreamLogs, exchange: Exchange): Promise<boolean> {
  const point = await resumePoint(logs, exchange.context);
  if (point) await sendRest(deps, point, exchange);
  return point !== undefined;
}

async function sendRest(deps: HttpDeps, { log, after }: ResumePoint, exchange: Exchange): Promise<void> {
  if (log.state !== 'done' || after < log.length - 1) {
    await sendLog(deps, log, after, exchange, streamHeader(log));
    return;
  }
  // Everything was read: an EventSource that is told so comes back no more.
  exchange.sink.start(204, { ...exchange.headers, ...streamHeader(log) });
  exchange.sink.end();
}

/** `GET /v1/streams/{id}`: the rest of a resumable stream, after `Last-Event-ID` or from its beginning. */
export const resumeStream = (deps: HttpDeps, logs: StreamLogs) =>
  endpoint(deps, encodeError, async (c: AppContext, exchange) => {
    const { context } = exchange;
    const id = c.req.param('id') ?? '';
    const log = id.startsWith('strm_') ? await logs.find(id, context.caller.id) : undefined;
    if (!log) throw lost();
    const point = await resumePoint(logs, context);
    await sendRest(deps, point?.log.id === id ? point : { log, after: -1 }, exchange);
  });
