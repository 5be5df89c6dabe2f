import { randomId } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import type { ObjectStore, StoredObject } from '../core/objects.ts';
import type { Caller } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import {
  type BatchEndpoint,
  type BatchLine,
  type BatchLineResult,
  decodeBatchLines,
  encodeResults,
  isFailed,
} from '../wire/openai/batches.ts';
import { encodeError } from '../wire/openai/errors.ts';
import { shuttingDown } from './active.ts';
import type { HttpDeps } from './env.ts';
import { keepFile } from './routes/files.ts';
import { wholeAnswer } from './whole-answer.ts';

/** Runs batches: beside everything else, at batch priority, a few requests at a time. */
export interface BatchRunner {
  /** Begins, or goes on with, a batch that is in the store. */
  run(batch: StoredObject): void;
  /** Stops a batch; what is done already stays in its output. */
  cancel(batch: StoredObject): Promise<StoredObject>;
  /** Goes on with the batches that a stop of the gateway cut short. */
  resume(): Promise<void>;
}

export interface BatchRunnerDeps extends HttpDeps {
  readonly objects: ObjectStore;
  /** Requests of one batch under way at once. */
  readonly concurrency?: number;
  /** Tries of a request that finds no room. */
  readonly tries?: number;
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
const finalStates = new Set(['completed', 'failed', 'expired', 'cancelled']);

export const isFinal = (batch: StoredObject): boolean => finalStates.has(String(batch.body['status']));

export function createBatchRunner(deps: BatchRunnerDeps): BatchRunner {
  const { objects, concurrency = 4, tries = 8 } = deps;
  const running = new Map<string, { readonly controller: AbortController; readonly done: Promise<void> }>();

  const update = async (batch: StoredObject, change: JsonObject): Promise<StoredObject> => {
    const now = (await objects.get('batch', batch.id, batch.owner)) ?? batch; // cancelling writes beside the worker
    const next = { ...now, body: { ...now.body, ...change } };
    await objects.put(next);
    return next;
  };

  const work = async (given: StoredObject, controller: AbortController): Promise<void> => {
    const { signal } = controller;
    const caller = given.body['caller'] as unknown as Caller; // written by the route that made the batch
    const endpoint = given.body['endpoint'] as BatchEndpoint; // checked by the route that made the batch
    const input = await objects.get('file', String(given.body['input_file_id']), given.owner);
    const { lines, errors } = decodeBatchLines(input?.bytes ?? new Uint8Array(), endpoint);
    if (errors.length > 0) {
      await update(given, {
        status: 'failed',
        failed_at: nowSeconds(),
        errors: { object: 'list', data: errors as unknown as JsonObject[] },
      }); // plain data
      return;
    }
    let batch = given;
    const done = await doneLines(objects, batch);
    const counts = () => {
      const failed = [...done.values()].filter(isFailed).length;
      return { total: lines.length, completed: done.size - failed, failed };
    };
    if (batch.body['status'] === 'validating') {
      batch = await update(batch, { status: 'in_progress', in_progress_at: nowSeconds(), request_counts: counts() });
    }
    const expiresAt = Number(batch.body['expires_at']);
    const expiry = setTimeout(
      () => controller.abort(new GatewayError('timeout', 'The batch expired.', { code: 'batch_expired' })),
      Math.min(2 ** 31 - 1, Math.max(0, expiresAt * 1000 - Date.now())),
    );
    try {
      const waiting = lines.filter((line) => !done.has(line.line));
      const worker = async () => {
        for (let line = waiting.shift(); line && !signal.aborted; line = waiting.shift()) {
          if (deps.active.closing) controller.abort(shuttingDown());
          const result = await runLine(endpoint, line, caller, signal);
          if (!result) return; // stopped, to be done again
          const id = `${batch.id}:${line.line}`;
          await objects.put({
            kind: 'batch-line',
            id,
            owner: batch.owner,
            createdAt: nowSeconds(),
            body: result as unknown as JsonObject,
          }); // plain data
          done.set(line.line, result);
        }
      };
      await Promise.all(Array.from({ length: concurrency }, worker));
    } finally {
      clearTimeout(expiry);
    }
    if (signal.aborted && abortCode(signal) === 'shutting_down') return; // goes on after the restart
    await finish(batch, lines, done, counts(), signal);
  };

  const runLine = async (
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
    batch: StoredObject,
    lines: readonly BatchLine[],
    done: ReadonlyMap<number, BatchLineResult>,
    request_counts: JsonObject,
    signal: AbortSignal,
  ): Promise<void> => {
    const cancelled = signal.aborted && abortCode(signal) !== 'batch_expired';
    const expired = signal.aborted && !cancelled;
    const stamp = cancelled ? {} : { status: 'finalizing', finalizing_at: nowSeconds() };
    const finalizing = await update(batch, { ...stamp, request_counts });
    const ordered = lines.flatMap((line) => {
      const result = done.get(line.line);
      if (result) return [result];
      if (!expired) return [];
      const error = {
        code: 'batch_expired',
        message: 'This request could not be executed before the completion window expired.',
      };
      return [{ id: randomId('batch_req_'), custom_id: line.customId, response: null, error }];
    });
    const seconds = batch.body['output_expires_after'];
    const expiry =
      isJsonObject(seconds) && typeof seconds['seconds'] === 'number'
        ? { expiresAfterSeconds: seconds['seconds'] }
        : {};
    const write = async (results: readonly BatchLineResult[], kind: string) => {
      if (results.length === 0) return null;
      const file = {
        filename: `${batch.id}_${kind}.jsonl`,
        purpose: 'batch_output',
        bytes: encodeResults(results),
        ...expiry,
      };
      return (await keepFile(objects, batch.owner, file)).id;
    };
    const status = cancelled ? 'cancelled' : expired ? 'expired' : 'completed';
    await update(finalizing, {
      status,
      [`${status}_at`]: nowSeconds(),
      output_file_id: await write(
        ordered.filter((result) => !isFailed(result)),
        'output',
      ),
      error_file_id: await write(ordered.filter(isFailed), 'error'),
      usage: usageOf(ordered),
    });
    for (const line of lines) await objects.delete('batch-line', `${batch.id}:${line.line}`, batch.owner);
  };

  const run = (batch: StoredObject): void => {
    if (running.has(batch.id) || isFinal(batch)) return;
    const controller = new AbortController();
    const abortable = { abort: (reason: GatewayError) => controller.abort(reason) };
    deps.active.add(abortable);
    const done = work(batch, controller)
      .catch(async (error: unknown) => {
        const { message, code } = toGatewayError(error);
        const fault = { code: code ?? 'internal_error', line: null, message, param: null };
        await update(batch, { status: 'failed', failed_at: nowSeconds(), errors: { object: 'list', data: [fault] } });
      })
      .catch(() => {}) // the store is gone: the batch goes on after a restart
      .finally(() => {
        running.delete(batch.id);
        deps.active.delete(abortable);
      });
    running.set(batch.id, { controller, done });
  };

  return {
    run,
    async cancel(batch) {
      const job = running.get(batch.id);
      const cancelling = await update(batch, { status: 'cancelling', cancelling_at: nowSeconds() });
      if (!job) return update(cancelling, { status: 'cancelled', cancelled_at: nowSeconds() });
      job.controller.abort(new GatewayError('cancelled', 'The batch was cancelled.'));
      return cancelling;
    },
    async resume() {
      for (const batch of await objects.all('batch')) run(batch);
    },
  };
}

const abortCode = (signal: AbortSignal): string | null =>
  signal.reason instanceof GatewayError ? signal.reason.code : shuttingDown().code;

/** Results of earlier runs of this batch, by line. */
async function doneLines(objects: ObjectStore, batch: StoredObject): Promise<Map<number, BatchLineResult>> {
  const idPrefix = `${batch.id}:`;
  const { items } = await objects.list('batch-line', batch.owner, { idPrefix, limit: 100_000, order: 'asc' });
  return new Map(
    items.map((item) => [Number(item.id.slice(idPrefix.length)), item.body as unknown as BatchLineResult]), // written by the worker above
  );
}

function usageOf(results: readonly BatchLineResult[]): JsonObject {
  let [input, output, cached, reasoning] = [0, 0, 0, 0];
  const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
  for (const { response } of results) {
    const usage = isJsonObject(response?.body) && isJsonObject(response.body['usage']) ? response.body['usage'] : {};
    const read = usage['prompt_tokens_details'] ?? usage['input_tokens_details'];
    const thought = usage['completion_tokens_details'] ?? usage['output_tokens_details'];
    input += count(usage['prompt_tokens'] ?? usage['input_tokens']);
    output += count(usage['completion_tokens'] ?? usage['output_tokens']);
    cached += isJsonObject(read) ? count(read['cached_tokens']) : 0;
    reasoning += isJsonObject(thought) ? count(thought['reasoning_tokens']) : 0;
  }
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  };
}
