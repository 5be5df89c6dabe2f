import { nowSeconds, randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { ObjectStore, StoredObject } from '../../core/objects.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { decodeUpload, encodeFile } from '../../wire/openai/files.ts';
import { readBody } from '../body.ts';
import { endpoint } from '../endpoint.ts';
import { type HttpDeps, headersOf } from '../env.ts';
import { getRoute, idOf } from '../json.ts';
import { encodeList, pageOf } from '../list.ts';

/** Keeps a file of `owner`; batches write their results through it too. */
export async function keepFile(
  objects: ObjectStore,
  owner: string,
  file: {
    /** A new one if absent. */
    readonly id?: string;
    readonly filename: string;
    readonly purpose: string;
    readonly bytes: Uint8Array;
    readonly expiresAfterSeconds?: number;
  },
): Promise<StoredObject> {
  const createdAt = nowSeconds();
  const id = file.id ?? randomId('file-');
  const expiresAt = file.expiresAfterSeconds === undefined ? {} : { expiresAt: createdAt + file.expiresAfterSeconds };
  const body = encodeFile({ ...file, id, createdAt, ...expiresAt, bytes: file.bytes.length });
  const stored: StoredObject = { kind: 'file', id, owner, createdAt, ...expiresAt, body, bytes: file.bytes };
  await objects.put(stored);
  return stored;
}

/** A file of that owner. Throws not_found; `param` is where the request names it. */
export async function loadFile(objects: ObjectStore, id: string, owner: string, param = 'id'): Promise<StoredObject> {
  const stored = await objects.get('file', id, owner);
  if (stored) return stored;
  throw new GatewayError('not_found', `No such File object: ${id.slice(0, 100)}`, { param });
}

export const uploadFile = (deps: HttpDeps, objects: ObjectStore) =>
  endpoint(deps, encodeError, async (c, { context, json }) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const upload = await decodeUpload(bytes, headersOf(c)['content-type']);
    json((await keepFile(objects, context.caller.id, upload)).body);
  });

export const listFiles = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const purpose = c.req.query('purpose');
    const page = pageOf(c, { limit: 10_000, max: 10_000 });
    const { items, hasMore } = await objects.list('file', context.caller.id, {
      ...page,
      ...(purpose ? { where: (file) => file.body['purpose'] === purpose } : {}),
    });
    json(
      encodeList(
        items.map((file) => file.body),
        hasMore,
      ),
    );
  });

export const getFile = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => json((await loadFile(objects, idOf(c), context.caller.id)).body));

export const getFileContent = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, sink, headers }, c) => {
    const { bytes = new Uint8Array() } = await loadFile(objects, idOf(c), context.caller.id);
    sink.start(200, {
      ...headers,
      'content-type': 'application/octet-stream',
      'content-length': String(bytes.length),
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
    });
    sink.end(bytes);
  });

export const deleteFile = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    await loadFile(objects, idOf(c), context.caller.id);
    await objects.delete('file', idOf(c), context.caller.id);
    json({ id: idOf(c), object: 'file', deleted: true });
  });
