import { nowSeconds, randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { isJsonObject } from '../../core/json.ts';
import type { ObjectStore, StoredObject } from '../../core/objects.ts';
import { type ChatRequest, readable } from '../../core/request.ts';
import type { RequestContext } from '../../core/run.ts';
import { createCollector } from '../../core/streams.ts';
import type { AnswerMeta } from '../../wire/format.ts';
import { openaiChat } from '../../wire/openai/format.ts';
import { changedMetadataSchema } from '../../wire/openai/schema.ts';
import { parseBody } from '../../wire/validate.ts';
import type { AppContext, HttpDeps } from '../env.ts';
import { type Adapt, generation } from '../generation.ts';
import { getRoute, idOf, jsonRoute } from '../json.ts';
import { encodeList, pageItems, pageOf } from '../list.ts';

/** `POST /v1/chat/completions`; with `store: true` the answer is in the store before its last byte goes out. */
export const chatCompletions = (deps: HttpDeps, objects: ObjectStore) =>
  generation(deps, openaiChat, (request, context) =>
    request.store ? keeping(deps, objects, request, context) : undefined,
  );

function keeping(
  deps: HttpDeps,
  objects: ObjectStore,
  request: ChatRequest,
  context: RequestContext,
): ReturnType<Adapt> {
  let pinned = { id: context.answerId ?? randomId(''), createdAt: nowSeconds() };
  const pin = (meta: AnswerMeta): AnswerMeta => ({ ...meta, ...pinned });
  const messages = request.wire?.body['messages'];
  const gateway: HttpDeps['gateway'] = {
    ...deps.gateway,
    async stream(asked, within) {
      const run = await deps.gateway.stream(asked, within);
      pinned = run.given ?? pinned;
      async function* events() {
        const collector = createCollector();
        for await (const event of run.events) {
          collector.push(event);
          yield event;
        }
        const meta = pin({ ...pinned, requestId: context.requestId, request: asked, target: run.target });
        const completion = openaiChat.encodeWhole(collector.result(), meta) as JsonObject; // plain data
        await objects.put({
          kind: 'chat-completion',
          id: String(completion['id']),
          owner: context.caller.id,
          createdAt: pinned.createdAt,
          expiresAt: pinned.createdAt + 30 * 24 * 3600,
          body: {
            completion: { ...completion, metadata: asked.metadata ?? {} },
            messages: Array.isArray(messages) ? messages : [],
          },
        });
      }
      return { ...run, events: events() };
    },
  };
  return {
    deps: { ...deps, gateway },
    request: readable(request),
    format: {
      ...openaiChat,
      encodeStream: (meta) => openaiChat.encodeStream(pin(meta)),
      encodeWhole: (collected, meta) => openaiChat.encodeWhole(collected, pin(meta)),
    },
  };
}

const completionOf = ({ body }: StoredObject): JsonObject =>
  isJsonObject(body['completion']) ? body['completion'] : {};

async function load(objects: ObjectStore, c: AppContext, context: RequestContext): Promise<StoredObject> {
  const id = idOf(c);
  const stored = await objects.get('chat-completion', id, context.caller.id);
  if (stored) return stored;
  throw new GatewayError('not_found', `No chat completion found with id '${id.slice(0, 100)}'.`, {
    param: 'completion_id',
  });
}

export const listStoredChats = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const model = c.req.query('model');
    const wanted = Object.entries(c.req.query()).flatMap(([key, value]) => {
      const name = /^metadata\[(.+)\]$/.exec(key)?.[1];
      return name === undefined ? [] : [[name, value] as const];
    });
    const { items, hasMore } = await objects.list('chat-completion', context.caller.id, {
      ...pageOf(c, { order: 'asc' }),
      where: (stored) => {
        const { metadata, model: made } = completionOf(stored);
        const fits = ([name, value]: readonly [string, string]) =>
          isJsonObject(metadata) && Object.hasOwn(metadata, name) && metadata[name] === value;
        return (!model || made === model) && wanted.every(fits);
      },
    });
    json(encodeList(items.map(completionOf), hasMore));
  });

export const getStoredChat = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => json(completionOf(await load(objects, c, context))));

export const updateStoredChat = (deps: HttpDeps, objects: ObjectStore) =>
  jsonRoute(deps, async (body, { context, json }, c) => {
    const metadata = parseBody(changedMetadataSchema(), body).metadata ?? {};
    const stored = await load(objects, c, context);
    const completion = { ...completionOf(stored), metadata };
    await objects.put({ ...stored, body: { ...stored.body, completion } });
    json(completion);
  });

export const deleteStoredChat = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { id } = await load(objects, c, context);
    await objects.delete('chat-completion', id, context.caller.id);
    json({ id, object: 'chat.completion.deleted', deleted: true });
  });

export const listStoredMessages = (deps: HttpDeps, objects: ObjectStore) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { id, body } = await load(objects, c, context);
    const messages = Array.isArray(body['messages']) ? (body['messages'] as readonly JsonObject[]) : []; // what the client sent
    const numbered = messages.map((message, index) => ({ ...message, id: `${id}-${index}` }));
    json(pageItems(numbered, pageOf(c, { order: 'asc' })));
  });
