import * as z from 'zod';
import { nowSeconds, randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import type { ObjectStore, StoredObject } from '../../core/objects.ts';
import { once } from '../../core/once.ts';
import type { RequestContext } from '../../core/run.ts';
import { sleep } from '../../core/signals.ts';
import { changedMetadataSchema, metadataSchema } from '../../wire/openai/schema.ts';
import { decodeItems, type Unsaid } from '../../wire/responses/items.ts';
import { parseBody } from '../../wire/validate.ts';
import type { HttpDeps } from '../env.ts';
import { getRoute, idOf, jsonRoute } from '../json.ts';
import { encodeList, pageItems, pageOf } from '../list.ts';

/** A conversation as it is kept. */
interface Conversation {
  readonly createdAt: number;
  readonly metadata: JsonObject;
  readonly items: readonly JsonObject[];
}

const item = once(() => z.looseObject({ type: z.string().nullish() }));
export const createConversationSchema = once(() =>
  z.looseObject({
    items: z.array(item()).max(20).nullish(),
    metadata: metadataSchema().nullish(),
  }),
);
const addItemsSchema = once(() => z.looseObject({ items: z.array(item()).min(1).max(20) }));

/** Items with the ids and states that listings show; their form is checked as a response's input would be. */
export function storedItems(items: readonly JsonObject[]): JsonObject[] {
  const unsaid: Unsaid = { leftOut: new Set() };
  decodeItems(items, unsaid);
  const { onlyAsSent } = unsaid; // what is kept is read again, and not sent as it came
  if (onlyAsSent) {
    throw new GatewayError(
      'unsupported',
      `What is kept here can't hold ${onlyAsSent.what}; send it with store: false.`,
      {
        param: onlyAsSent.param,
      },
    );
  }
  return items.map((one) => {
    const type = one['type'] ?? 'message';
    const prefix = type === 'message' ? 'msg_' : type === 'reasoning' ? 'rs_' : 'item_';
    const content = one['content'];
    const text = one['role'] === 'assistant' ? 'output_text' : 'input_text';
    const parts = typeof content === 'string' ? [{ type: text, text: content }] : content;
    return {
      ...one,
      id: typeof one['id'] === 'string' && one['id'] !== '' ? one['id'] : randomId(prefix),
      type,
      ...(Array.isArray(parts) ? { content: parts.map(wholePart) } : {}),
      status: one['status'] ?? 'completed',
    };
  });
}

/** An answer's text with the lists that SDKs read without asking whether they are there. */
const wholePart = (part: Json): Json =>
  isJsonObject(part) && part['type'] === 'output_text' ? { annotations: [], logprobs: [], ...part } : part;

/** A conversation of this caller. Throws not_found. */
export async function loadConversation(
  objects: ObjectStore,
  id: string,
  context: RequestContext,
): Promise<StoredObject & { readonly conversation: Conversation }> {
  const stored = await objects.get('conversation', id, context.caller.id);
  if (!stored) {
    throw new GatewayError('not_found', `Conversation with id '${id.slice(0, 100)}' not found.`, {
      param: 'conversation',
    });
  }
  const { metadata, items } = stored.body;
  return {
    ...stored,
    conversation: {
      createdAt: stored.createdAt,
      // written by this file
      metadata: (metadata ?? {}) as JsonObject,
      items: (items ?? []) as readonly JsonObject[],
    },
  };
}

/** Letters of their JSON. */
export const sizeOf = (items: readonly JsonObject[]): number => JSON.stringify(items).length;

/** Turns that are kept are read together with the next one: they may be as much as a request may bring. */
export function checkKeptSize(size: number, most: number, param: string): void {
  if (size <= most) return;
  throw new GatewayError('payload_too_large', `What is kept of the turns before is larger than ${most} bytes.`, {
    param,
  });
}

/** Adds a turn's input and output at the end: the turn that finds more than there may be is the next one. */
export async function appendItems(
  objects: ObjectStore,
  id: string,
  items: readonly JsonObject[],
  context: RequestContext,
): Promise<void> {
  await changeConversation(objects, id, context, (kept) => ({ items: [...kept.items, ...items] }));
}

/** Most time that one change takes, and that another waits for it. */
const changeMs = 5000;
const retryMs = 20;

/** Reads, changes and writes with nobody else in between, in any process: turns of one conversation may end at once. */
async function changeConversation(
  objects: ObjectStore,
  id: string,
  context: RequestContext,
  change: (kept: Conversation) => Partial<Pick<Conversation, 'items' | 'metadata'>>,
): Promise<Conversation> {
  const work = `conversation:${context.caller.id}:${id}`;
  const holder = randomId('');
  for (let waitedMs = 0; !(await objects.lease(work, holder, changeMs)); waitedMs += retryMs) {
    if (waitedMs > changeMs) throw new GatewayError('unavailable', 'The conversation is being changed by others.');
    await sleep(retryMs, context.signal);
  }
  try {
    const { conversation, ...stored } = await loadConversation(objects, id, context);
    const changed = { ...conversation, ...change(conversation) };
    await objects.put({ ...stored, body: { metadata: changed.metadata, items: changed.items } });
    return changed;
  } finally {
    await objects.release(work, holder).catch(() => {}); // it runs out by itself
  }
}

const encode = (id: string, { createdAt, metadata }: Pick<Conversation, 'createdAt' | 'metadata'>) => ({
  id,
  object: 'conversation',
  created_at: createdAt,
  metadata,
});

export const createConversation = (deps: HttpDeps, objects: ObjectStore) =>
  jsonRoute(deps, async (body, { context, json }) => {
    const { items, metadata } = parseBody(createConversationSchema(), body);
    const id = randomId('conv_');
    const createdAt = nowSeconds();
    const kept = {
      metadata: (metadata ?? {}) as JsonObject,
      items: storedItems((items ?? []) as JsonObject[]), // out of JSON.parse
    };
    await objects.put({ kind: 'conversation', id, owner: context.caller.id, createdAt, body: kept });
    json(encode(id, { createdAt, metadata: kept.metadata }));
  });

export const getConversation = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { conversation } = await loadConversation(objects, idOf(c), context);
    json(encode(idOf(c), conversation));
  });

export const updateConversation = (deps: HttpDeps, objects: ObjectStore) =>
  jsonRoute(deps, async (body, { context, json }, c) => {
    const metadata = parseBody(changedMetadataSchema(), body).metadata ?? {};
    json(encode(idOf(c), await changeConversation(objects, idOf(c), context, () => ({ metadata }))));
  });

export const deleteConversation = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    await loadConversation(objects, idOf(c), context);
    await objects.delete('conversation', idOf(c), context.caller.id);
    json({ id: idOf(c), object: 'conversation.deleted', deleted: true });
  });

export const listConversationItems = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { conversation } = await loadConversation(objects, idOf(c), context);
    json(pageItems(conversation.items, pageOf(c)));
  });

export const addConversationItems = (deps: HttpDeps, objects: ObjectStore) =>
  jsonRoute(deps, async (body, { context, json }, c) => {
    const items = storedItems(parseBody(addItemsSchema(), body).items as JsonObject[]); // out of JSON.parse
    await changeConversation(objects, idOf(c), context, (kept) => {
      const all = [...kept.items, ...items];
      checkKeptSize(sizeOf(all), deps.options.maxBodyBytes, 'items');
      return { items: all };
    });
    json(encodeList(items, false));
  });

function findItem(conversation: Conversation, id: string): JsonObject {
  const found = conversation.items.find((one) => one['id'] === id);
  if (found) return found;
  throw new GatewayError('not_found', `Item with id '${id.slice(0, 100)}' not found.`, { param: 'item_id' });
}

export const getConversationItem = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { conversation } = await loadConversation(objects, idOf(c), context);
    json(findItem(conversation, c.req.param('item') ?? ''));
  });

export const deleteConversationItem = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const changed = await changeConversation(objects, idOf(c), context, (kept) => {
      const gone = findItem(kept, c.req.param('item') ?? '');
      return { items: kept.items.filter((one) => one !== gone) };
    });
    json(encode(idOf(c), changed));
  });
