import { nowSeconds, randomId, unref } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { ObjectStore, StoredObject } from '../core/objects.ts';
import type { Caller } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import { type BatchEndpoint, type BatchLine, type BatchLineResult, decodeBatchLines } from '../wire/openai/batches.ts';
import { encodeError } from '../wire/openai/errors.ts';
import { shuttingDown } from './active.ts';
import { countResults, keepResult, keptResults, orderedResults, usageOf, writeResults } from './batch-results.ts';
import type { HttpDeps } from './env.ts';
import { wholeAnswer } from './whole-answer.ts';

/**
 * Runs batches: beside everything else, at batch priority, a few requests at a time. Of the gateways on one store each
 * batch is run by the one that holds its lease; when that one is gone, another goes on from the results that are kept.
 */
export interface BatchRunner {
  /** Begins, or goes on with, a batch that is in the store. */
  run(batch: StoredObject): void;
  /** Stops a batch, whoever runs it; what is done already stays in its output. */
  cancel(batch: StoredObject): Promise<StoredObject>;
  /** Goes on with the batches that a stop cut short, and from now on with those of gateways that are gone. */
  resume(): Promise<void>;
}

export interface BatchRunnerDeps extends HttpDeps {
  readonly objects: ObjectStore;
  /** Requests of one batch under way at once. */
  readonly concurrency?: number;
  /** Tries of a request that finds no room. */
  readonly tries?: number;
  /** A gateway that says nothing for so long has lost its batches. */
  readonly leaseMs?: number;
  /** Whether the key with this id was taken back; absent: none ever is. Asked thrice in the time of a lease. */
  readonly isRevoked?: (keyId: string) => Promise<boolean>;
}

interface Job {
  readonly controller: AbortController;
  /** What the store holds, when this gateway last looked. */
  batch: StoredObject;
  /** Until then nobody else may run it. */
  heldUntilMs: number;
}

/** So often a batch may fail as a whole, all at the store, before it is given up. */
const maxFailures = 5;
const finalStates = new Set(['completed', 'failed', 'expired', 'cancelled']);
const workOf = (batch: StoredObject) => `batch:${batch.id}`;

/** Whether nothing will happen to the batch any more. */
export const isFinal = (batch: StoredObject): boolean => finalStates.has(String(batch.body['status']));

const cancelled = () => new GatewayError('cancelled', 'The batch was cancelled.', { code: 'batch_cancelled' });
const expired = () => new GatewayError('timeout', 'The batch expired.', { code: 'batch_expired' });
const lost = () => new GatewayError('conflict', 'Another gateway runs this batch.', { code: 'lease_lost' });

/** Whether the batch itself is over; all other reasons to stop leave it to whoever goes on with it. */
const isOver = ({ reason }: AbortSignal): boolean =>
  reason instanceof GatewayError && (reason.code === 'batch_cancelled' || reason.code === 'batch_expired');

export function createBatchRunner(deps: BatchRunnerDeps): BatchRunner {
  const { objects, active, concurrency = 4, tries = 8, leaseMs = 30_000, isRevoked = async () => false } = deps;
  const holder = randomId('gw_');
  const running = new Map<string, Job>();
  const failures = new Map<string, number>();
  let sweeping: ReturnType<typeof setInterval> | undefined;

  const latest = async (batch: StoredObject) => (await objects.get('batch', batch.id, batch.owner)) ?? batch;
  const update = async (batch: StoredObject, change: JsonObject): Promise<StoredObject> => {
    const now = await latest(batch); // a cancel may have come in beside this
    const next = { ...now, body: { ...now.body, ...change } };
    await objects.put(next);
    return next;
  };

  /** Takes or prolongs the lease; false where somebody else has it. */
  const hold = async (job: Job): Promise<boolean> => {
    const untilMs = Date.now() + leaseMs;
    if (!(await objects.lease(workOf(job.batch), holder, leaseMs))) return false;
    job.heldUntilMs = untilMs;
    return true;
  };
  /** Whether it shall stop: a cancel came in, here or elsewhere, or nobody may ask with its key any more. */
  const hear = async (job: Job): Promise<void> => {
    job.batch = await latest(job.batch);
    if (job.batch.body['status'] === 'cancelling' || (await isRevoked(job.batch.owner)))
      job.controller.abort(cancelled());
  };
  /** What happens beside the lines: the lease goes on. */
  const beat = async (job: Job): Promise<void> => {
    if (await hold(job)) await hear(job);
    else job.controller.abort(lost());
  };

  const work = async (job: Job): Promise<void> => {
    const { signal } = job.controller;
    await hear(job);
    if (isFinal(job.batch)) return;
    const { body, owner } = job.batch;
    const endpoint = body['endpoint'] as BatchEndpoint; // checked by the route that made the batch
    const input = await objects.get('file', String(body['input_file_id']), owner);
    const { lines, errors } = decodeBatchLines(input?.bytes ?? new Uint8Array(), endpoint);
    if (errors.length > 0) {
      const data = errors as unknown as JsonObject[]; // plain data
      await update(job.batch, { status: 'failed', failed_at: nowSeconds(), errors: { object: 'list', data } });
      return;
    }
    const results = await keptResults(objects, job.batch);
    if (body['status'] === 'validating') {
      const begun = { status: 'in_progress', in_progress_at: nowSeconds() };
      job.batch = await update(job.batch, { ...begun, request_counts: countResults(lines.length, results) });
    }
    await answerLines(job, endpoint, lines, results);
    if (signal.aborted && !isOver(signal)) return;
    await finish(job, lines, results);
  };

  const answerLines = async (
    job: Job,
    endpoint: BatchEndpoint,
    lines: readonly BatchLine[],
    results: Map<number, BatchLineResult>,
  ): Promise<void> => {
    const { controller, batch } = job;
    const { signal } = controller;
    const caller = batch.body['caller'] as unknown as Caller; // written by the route that made the batch
    const remainingMs = Number(batch.body['expires_at']) * 1000 - Date.now();
    const expiry = setTimeout(() => controller.abort(expired()), Math.min(2 ** 31 - 1, Math.max(0, remainingMs)));
    const waiting = lines.filter((line) => !results.has(line.line));
    let toldMs = 0;
    const worker = async () => {
      for (let line = waiting.shift(); line && !signal.aborted; line = waiting.shift()) {
        if (active.closing) controller.abort(shuttingDown());
        const result = await answerLine(endpoint, line, caller, signal);
        if (!result) return; // stopped, to be done again
        if (Date.now() > job.heldUntilMs) return controller.abort(lost()); // slept through its lease: this is another's line now
        await keepResult(objects, batch, line, result);
        results.set(line.line, result);
        if (Date.now() - toldMs < 1000) continue;
        toldMs = Date.now();
        const progress = { kind: 'batch-progress', id: batch.id, owner: batch.owner, createdAt: nowSeconds() } as const;
        await objects.put({ ...progress, body: countResults(lines.length, results) });
      }
    };
    try {
      await Promise.all(Array.from({ length: concurrency }, worker));
    } finally {
      clearTimeout(expiry);
    }
  };

  const answerLine = async (
    endpoint: BatchEndpoint,
    line: BatchLine,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<BatchLineResult | undefined> => {
    const result = (status_code: number, request_id: string, body: unknown): BatchLineResult => ({
      id: randomId('batch_req_'),
      custom_id: line.customId,
      response: { status_code, request_id, body },
      error: null,
    });
    for (let attempt = 1; ; attempt++) {
      const requestId = randomId('req_');
      const context = { requestId, caller, signal, endpoint, startedMs: performance.now(), headers: {} };
      try {
        return result(200, requestId, await wholeAnswer(deps, endpoint, line.body, context));
      } catch (thrown) {
        if (signal.aborted) return undefined;
        const error = toGatewayError(thrown);
        const later = error.retryable || error.kind === 'rate_limited';
        if (!later || attempt >= tries) return result(error.status, requestId, encodeError(error));
        await sleep(Math.min(60_000, error.retryAfterMs ?? 500 * 2 ** attempt), signal).catch(() => {});
        if (signal.aborted) return undefined;
      }
    }
  };

  const finish = async (
    { batch, controller: { signal } }: Job,
    lines: readonly BatchLine[],
    results: ReadonlyMap<number, BatchLineResult>,
  ): Promise<void> => {
    const code = signal.aborted && signal.reason instanceof GatewayError ? signal.reason.code : null;
    const status = code === 'batch_cancelled' ? 'cancelled' : code === 'batch_expired' ? 'expired' : 'completed';
    const stamp = status === 'cancelled' ? {} : { status: 'finalizing', finalizing_at: nowSeconds() };
    const finalizing = await update(batch, { ...stamp, request_counts: countResults(lines.length, results) });
    const ordered = orderedResults(lines, results, status === 'expired');
    const files = await writeResults(objects, batch, ordered);
    await update(finalizing, { status, [`${status}_at`]: nowSeconds(), ...files, usage: usageOf(ordered) });
    await objects.delete('batch-progress', batch.id, batch.owner);
    for (const line of lines) await objects.delete('batch-line', `${batch.id}:${line.line}`, batch.owner);
  };

  const run = (batch: StoredObject): void => {
    if (running.has(batch.id) || isFinal(batch)) return;
    const job: Job = { controller: new AbortController(), batch, heldUntilMs: 0 };
    const abortable = { abort: (reason: GatewayError) => job.controller.abort(reason) };
    running.set(batch.id, job);
    const leave = active.add(abortable);
    let beating: ReturnType<typeof setInterval> | undefined;
    const leased = async () => {
      if (!(await hold(job))) return;
      // A store that is away for a moment is asked again; past the lease's end no result is kept any more.
      beating = setInterval(() => void beat(job).catch(() => {}), leaseMs / 3);
      try {
        await work(job);
        failures.delete(batch.id);
      } catch (error) {
        const { message, code } = toGatewayError(error);
        const fault = { code: code ?? 'internal_error', line: null, message, param: null };
        const failed = { status: 'failed', failed_at: nowSeconds(), errors: { object: 'list', data: [fault] } };
        const failedTimes = (failures.get(batch.id) ?? 0) + 1;
        failures.set(batch.id, failedTimes);
        // A store that was away is no fault of the batch: the next sweep goes on with it.
        if (failedTimes >= maxFailures && !job.controller.signal.aborted) await update(batch, failed);
      } finally {
        clearInterval(beating);
        await objects.release(workOf(batch), holder);
      }
    };
    void leased()
      .catch(() => {}) // the store is gone: the batch goes on after a restart
      .finally(() => {
        running.delete(batch.id);
        leave();
      });
  };

  const sweep = async () => {
    if (active.closing) return clearInterval(sweeping);
    for (const batch of await objects.all('batch')) run(batch);
  };

  return {
    run,
    async cancel(batch) {
      const cancelling = await update(batch, { status: 'cancelling', cancelling_at: nowSeconds() });
      const job = running.get(batch.id);
      if (job) job.controller.abort(cancelled());
      else run(cancelling); // finishes what nobody runs; a gateway that has it hears of the cancel by itself
      return cancelling;
    },
    async resume() {
      await sweep();
      sweeping = setInterval(() => void sweep().catch(() => {}), leaseMs / 3);
      unref(sweeping);
    },
  };
}
