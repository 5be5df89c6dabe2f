import { anySignal } from '../core/abort.ts';
import { nowSeconds, randomId } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import type { StoredObject } from '../core/objects.ts';
import type { RequestContext } from '../core/run.ts';
import { createResponseEncoder } from '../wire/responses/encode.ts';
import { failureEvents } from '../wire/responses/ending.ts';
import { responseAnswer } from '../wire/responses/format.ts';
import type { Exchange } from './endpoint.ts';
import { keepResponse, keptResponse, loadResponse, type ResponsesDeps, type Turn } from './response-turns.ts';
import { makerGone, runDetached, sendLog } from './resume.ts';
import { type ReadableLog, splitEvents } from './stream-log.ts';

/** How long the events of a background response can be read again. */
const eventsKeptSeconds = 24 * 3600;
/** How often what there is of it is kept, for whoever asks meanwhile or after a crash. */
const snapshotMs = 1000;

/** Answers at once with the queued response; the work goes on without the client. */
export async function answerInBackground(deps: ResponsesDeps, turn: Turn, exchange: Exchange): Promise<void> {
  const { context } = exchange;
  const id = context.answerId ?? randomId('');
  const meta = { id, createdAt: nowSeconds(), request: turn.request };
  const encoder = createResponseEncoder({ ...responseAnswer(meta), queued: true });
  const queued = encoder.response();
  deps.gateway.model(turn.request.model, context); // throws model_not_found while there still is an HTTP status
  await keepResponse(deps, { ...turn, conversation: undefined }, queued, context);

  const log = deps.streams.open(`resp_${id}`, context.caller.id, {
    keptSeconds: eventsKeptSeconds,
    lastWords: failureEvents(queued, makerGone()),
  });
  log.append(splitEvents(encoder.push({ type: 'start' })));
  let keeping = Promise.resolve();
  let keptMs = performance.now();
  const keep = () => {
    keeping = keeping.catch(() => {}).then(() => keepResponse(deps, turn, encoder.response(), context)); // the last one counts
    return keeping;
  };
  const progress = () => {
    if (performance.now() - keptMs < snapshotMs) return;
    keptMs = performance.now();
    keep().catch(() => {}); // the next one is as good
  };
  const running = runDetached(deps, turn.request, { ...context, answerId: id }, encoder, log, {
    progress,
    settled: keep,
  });
  running.catch(() => {}); // told in the response itself
  if (turn.request.stream) await sendLog(deps, log, -1, exchange);
  else exchange.json(queued, 200, exchange.headers);
}

const isUnderWay = ({ status }: JsonObject): boolean => status === 'queued' || status === 'in_progress';

/** A response as it is by now: one whose gateway died while making it has failed, with what there is of its output. */
export async function settledResponse(
  deps: ResponsesDeps,
  id: string,
  context: RequestContext,
): Promise<{ readonly stored: StoredObject; readonly log: ReadableLog | undefined }> {
  const stored = await loadResponse(deps, id, context);
  const { response, input } = keptResponse(stored);
  const log = await deps.streams.find(id, context.caller.id);
  if (!isUnderWay(response) || log?.state === 'open') return { stored, log };
  const now = await loadResponse(deps, id, context); // it may have ended between the two looks
  if (!isUnderWay(keptResponse(now).response)) return { stored: now, log };
  const { code, message } = makerGone();
  const output = Array.isArray(response['output']) ? response['output'] : [];
  const failed: JsonObject = {
    ...response,
    status: 'failed',
    error: { code: 'server_error', message: `${message} (${code})` },
    output: output.map((item) => (isJsonObject(item) ? { ...item, status: 'incomplete' } : item)),
  };
  const settled = { ...stored, body: { response: failed, input } };
  await deps.objects.put(settled);
  return { stored: settled, log };
}

/** How long another gateway may take to hear that it shall stop. */
const stopWithinMs = 15_000;

/** Stops a response that is being made, here or elsewhere, and waits for its end. */
export async function stopResponse(log: ReadableLog | undefined, signal: AbortSignal, why: string): Promise<void> {
  if (log?.state !== 'open') return;
  await log.abort(new GatewayError('cancelled', why));
  const waiting = anySignal([signal, AbortSignal.timeout(stopWithinMs)]);
  for await (const _ of log.follow(log.length - 1, waiting)); // until its end is kept
}
