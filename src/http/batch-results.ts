import { nowSeconds, randomId } from '../core/clock.ts';
import { type JsonObject, numberOf, objectOf } from '../core/json.ts';
import type { ObjectStore, StoredObject } from '../core/objects.ts';
import { type BatchLine, type BatchLineResult, encodeResults, isFailed } from '../wire/openai/batches.ts';
import { keepFile } from './routes/files.ts';

/** Longer than any batch lives. */
const keptSeconds = 7 * 24 * 3600;

/** The results that a batch has so far, by line. Each is kept as soon as it is there, so that a stop costs none. */
export async function keptResults(objects: ObjectStore, batch: StoredObject): Promise<Map<number, BatchLineResult>> {
  const idPrefix = `${batch.id}:`;
  const { items } = await objects.list('batch-line', batch.owner, { idPrefix, limit: 100_000, order: 'asc' });
  return new Map(
    items.map((item) => [Number(item.id.slice(idPrefix.length)), item.body as unknown as BatchLineResult]), // written below
  );
}

/** Keeps one line’s result at once: whoever goes on with the batch does not ask again. */
export const keepResult = (objects: ObjectStore, batch: StoredObject, line: BatchLine, result: BatchLineResult) =>
  objects.put({
    kind: 'batch-line',
    id: `${batch.id}:${line.line}`,
    owner: batch.owner,
    createdAt: nowSeconds(),
    expiresAt: nowSeconds() + keptSeconds, // a crash may keep the finish from deleting it
    body: result as unknown as JsonObject, // plain data
  });

/** `request_counts` of a batch. */
export function countResults(total: number, results: ReadonlyMap<number, BatchLineResult>) {
  const failed = [...results.values()].filter(isFailed).length;
  return { total, completed: results.size - failed, failed };
}

/** What of a batch's input was answered, in its order; where it expired, also what was not. */
export function orderedResults(
  lines: readonly BatchLine[],
  results: ReadonlyMap<number, BatchLineResult>,
  expired: boolean,
): BatchLineResult[] {
  const code = 'batch_expired';
  const message = 'This request could not be executed before the completion window expired.';
  return lines.flatMap((line) => {
    const result = results.get(line.line);
    if (result) return [result];
    const id = randomId('batch_req_');
    return expired ? [{ id, custom_id: line.customId, response: null, error: { code, message } }] : [];
  });
}

/** Output and error file of a batch. Their ids follow from the batch's, so that writing them again makes no more of them. */
export async function writeResults(
  objects: ObjectStore,
  batch: StoredObject,
  results: readonly BatchLineResult[],
): Promise<{ readonly output_file_id: string | null; readonly error_file_id: string | null }> {
  const after = batch.body['output_expires_after'];
  const seconds = objectOf(after)['seconds'];
  const expiry = typeof seconds === 'number' ? { expiresAfterSeconds: seconds } : {};
  const write = async (some: readonly BatchLineResult[], kind: 'output' | 'error') => {
    if (some.length === 0) return null;
    const id = `file-${batch.id.replace('batch_', '')}-${kind}`;
    const filename = `${batch.id}_${kind}.jsonl`;
    const file = { id, filename, purpose: 'batch_output', bytes: encodeResults(some), ...expiry };
    return (await keepFile(objects, batch.owner, file)).id;
  };
  return {
    output_file_id: await write(
      results.filter((result) => !isFailed(result)),
      'output',
    ),
    error_file_id: await write(results.filter(isFailed), 'error'),
  };
}

/** Tokens of all answers together, in the form of the Responses API. */
export function usageOf(results: readonly BatchLineResult[]): JsonObject {
  let [input, output, cached, reasoning] = [0, 0, 0, 0];
  const count = (value: unknown): number => numberOf(value) ?? 0;
  for (const { response } of results) {
    const usage = objectOf(objectOf(response?.body)['usage']);
    const read = usage['prompt_tokens_details'] ?? usage['input_tokens_details'];
    const thought = usage['completion_tokens_details'] ?? usage['output_tokens_details'];
    input += count(usage['prompt_tokens'] ?? usage['input_tokens']);
    output += count(usage['completion_tokens'] ?? usage['output_tokens']);
    cached += count(objectOf(read)['cached_tokens']);
    reasoning += count(objectOf(thought)['reasoning_tokens']);
  }
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  };
}
