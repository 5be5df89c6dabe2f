import { nowSeconds, randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import type { ObjectStore, StoredObject } from '../../core/objects.ts';
import type { RequestContext } from '../../core/run.ts';
import { batchRequestSchema } from '../../wire/openai/batches.ts';
import { expirySeconds } from '../../wire/openai/files.ts';
import { invalidValue, parseBody } from '../../wire/validate.ts';
import { type BatchRunner, isFinal } from '../batch-runner.ts';
import type { HttpDeps } from '../env.ts';
import { getRoute, idOf, onceRoute } from '../json.ts';
import { encodeList, pageOf } from '../list.ts';
import { loadFile } from './files.ts';

const windowSeconds = 24 * 3600;
/** The batch as clients see it: without whom it runs for. */
function encode({ body }: StoredObject): JsonObject {
  const { caller: _, ...batch } = body;
  return batch;
}

/** The batch with the counts of now: while it runs they are kept beside it. */
async function encodeNow(objects: ObjectStore, batch: StoredObject): Promise<JsonObject> {
  const progress = isFinal(batch) ? undefined : await objects.get('batch-progress', batch.id, batch.owner);
  return { ...encode(batch), ...(progress && { request_counts: progress.body }) };
}

async function load(objects: ObjectStore, id: string, context: RequestContext): Promise<StoredObject> {
  const stored = await objects.get('batch', id, context.caller.id);
  if (stored) return stored;
  throw new GatewayError('not_found', `No batch found with id '${id.slice(0, 100)}'.`, { param: 'batch_id' });
}

export const createBatch = (deps: HttpDeps, objects: ObjectStore, runner: BatchRunner) =>
  onceRoute(deps, async (body, { context, json }) => {
    const asked = parseBody(batchRequestSchema(), body);
    const owner = context.caller.id;
    const file = await loadFile(objects, asked.input_file_id, owner, 'input_file_id');
    if (file.body['purpose'] !== 'batch') {
      throw invalidValue('input_file_id', "The input file must have been uploaded with the purpose 'batch'.");
    }
    const kept = asked.output_expires_after;
    if (kept) expirySeconds(kept.seconds, 'output_expires_after.seconds');
    const id = randomId('batch_');
    const createdAt = nowSeconds();
    const stamps = 'in_progress finalizing completed failed expired cancelling cancelled'.split(' ');
    const batch: StoredObject = {
      kind: 'batch',
      id,
      owner,
      createdAt,
      body: {
        id,
        object: 'batch',
        endpoint: asked.endpoint,
        errors: null,
        input_file_id: asked.input_file_id,
        completion_window: asked.completion_window,
        status: 'validating',
        output_file_id: null,
        error_file_id: null,
        created_at: createdAt,
        expires_at: createdAt + windowSeconds,
        ...Object.fromEntries(stamps.map((state) => [`${state}_at`, null])),
        request_counts: { total: 0, completed: 0, failed: 0 },
        metadata: asked.metadata ?? null,
        ...(kept ? { output_expires_after: { anchor: kept.anchor, seconds: kept.seconds } } : {}),
        caller: context.caller as unknown as JsonObject, // plain data
      },
    };
    await objects.put(batch);
    json(encode(batch));
    runner.run(batch);
  });

export const listBatches = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { items, hasMore } = await objects.list('batch', context.caller.id, pageOf(c));
    json(encodeList(items.map(encode), hasMore));
  });

export const getBatch = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => json(await encodeNow(objects, await load(objects, idOf(c), context))));

export const cancelBatch = (deps: HttpDeps, objects: ObjectStore, runner: BatchRunner) =>
  getRoute(deps, async ({ context, json }, c) => {
    const batch = await load(objects, idOf(c), context);
    if (isFinal(batch)) {
      throw new GatewayError('conflict', `Cannot cancel a batch with status '${String(batch.body['status'])}'.`);
    }
    json(encode(await runner.cancel(batch)));
  });
