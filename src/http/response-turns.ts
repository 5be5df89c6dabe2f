import { nowSeconds } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { ObjectStore, StoredObject } from '../core/objects.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import { decodeResponseRequest } from '../wire/responses/decode.ts';
import { type Input, inputItems } from '../wire/responses/items.ts';
import { responseOfItem } from '../wire/responses/output.ts';
import { responseRequestSchema } from '../wire/responses/schema.ts';
import { invalidValue, parseBody } from '../wire/validate.ts';
import type { HttpDeps } from './env.ts';
import { appendItems, checkKeptSize, loadConversation, sizeOf, storedItems } from './routes/conversations.ts';
import type { StreamLogs } from './stream-log.ts';

export interface ResponsesDeps extends HttpDeps {
  readonly objects: ObjectStore;
  readonly streams: StreamLogs;
}

/** One turn: what was asked, what came before it, where it is kept. */
export interface Turn {
  readonly request: ChatRequest;
  /** The client's own items of this turn, as they are kept. */
  readonly input: readonly JsonObject[];
  readonly store: boolean;
  readonly background: boolean;
  readonly conversation: string | undefined;
  readonly previous: string | undefined;
}

/** OpenAI keeps responses for thirty days. */
const keptSeconds = 30 * 24 * 3600;
/** Longer chains of `previous_response_id` are cut at their beginning. */
const maxChain = 1000;

/** Decodes a request of the Responses API together with the turns before it. Throws invalid_request | not_found. */
export async function readTurn(
  deps: ResponsesDeps,
  body: JsonObject,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>>,
  context: RequestContext,
): Promise<Turn> {
  const parsed = parseBody(responseRequestSchema(), body);
  const conversation = typeof parsed.conversation === 'string' ? parsed.conversation : parsed.conversation?.id;
  const previous = parsed.previous_response_id ?? undefined;
  if (conversation !== undefined && previous !== undefined) {
    throw invalidValue('previous_response_id', "Use either 'conversation' or 'previous_response_id', not both.");
  }
  const background = parsed.background ?? false;
  const store = parsed.store ?? true;
  if (background && !store) {
    throw invalidValue('background', "'background' needs 'store' to be true.");
  }
  const own = inputItems(parsed.input as Input); // out of JSON.parse, checked by the decoder
  const history = await historyOf(deps, { conversation, previous }, context);
  const keeps = store || conversation !== undefined;
  if (history.length === 0 && !own.some(isReference)) {
    const request = decodeResponseRequest(body, { bytes, headers });
    const input = keeps ? storedItems(own) : own;
    return { request: keeps ? readable(request) : request, input, store, background, conversation, previous };
  }
  const resolved = await referenced(deps, own, history, context);
  // Once for the client's own items, so that a fault is named by their place.
  if (resolved.length > 0) decodeResponseRequest({ ...body, input: resolved }, { headers });
  const request = decodeResponseRequest({ ...body, input: [...history, ...resolved] }, { headers });
  return { request: readable(request), input: storedItems(resolved), store, background, conversation, previous };
}

/** The type may be left out where there is nothing but the id. */
const isReference = ({ id, type, role }: JsonObject): boolean =>
  type === 'item_reference' || (type == null && role === undefined && typeof id === 'string');

/** The items with what they refer to in place of references: an item before this turn, or of any response that is kept. */
async function referenced(
  { objects }: ResponsesDeps,
  items: readonly JsonObject[],
  history: readonly JsonObject[],
  context: RequestContext,
): Promise<readonly JsonObject[]> {
  const known = new Map(history.map((item) => [item['id'], item]));
  const ids = items.filter((item) => isReference(item) && !known.has(item['id'])).map(({ id }) => String(id));
  for (const id of new Set(ids.map(responseOfItem))) {
    const stored = id === undefined ? undefined : await objects.get('response', id, context.caller.id);
    for (const item of stored ? outputOf(keptResponse(stored).response) : []) known.set(item['id'], item);
  }
  return items.map((item) => {
    if (!isReference(item)) return item;
    const found = known.get(item['id']);
    if (found) return found;
    throw new GatewayError('not_found', `Item with id '${String(item['id']).slice(0, 100)}' not found.`, {
      param: 'input',
    });
  });
}

/**
 * The items of the turns before this one, oldest first. Instructions are not inherited. Throws payload_too_large where
 * they are more than one request may bring.
 */
export async function historyOf(
  { objects, options }: Pick<ResponsesDeps, 'objects' | 'options'>,
  { conversation, previous }: Pick<Turn, 'conversation' | 'previous'>,
  context: RequestContext,
): Promise<readonly JsonObject[]> {
  if (conversation !== undefined) {
    const { items } = (await loadConversation(objects, conversation, context)).conversation;
    checkKeptSize(sizeOf(items), options.maxBodyBytes, 'conversation');
    return items;
  }
  const turns: (readonly JsonObject[])[] = [];
  let size = 0;
  let id = previous;
  while (id !== undefined && turns.length < maxChain) {
    const stored = await objects.get('response', id, context.caller.id);
    if (!stored && turns.length === 0) throw previousNotFound(id);
    if (!stored) break; // deleted since
    const { response, input } = keptResponse(stored);
    const items = [...input, ...outputOf(response)];
    turns.push(items);
    size += sizeOf(items);
    checkKeptSize(size, options.maxBodyBytes, 'previous_response_id');
    const before = response['previous_response_id'];
    id = typeof before === 'string' ? before : undefined;
  }
  return turns.reverse().flat();
}

const previousNotFound = (id: string) =>
  new GatewayError('not_found', `Previous response with id '${id.slice(0, 100)}' not found.`, {
    code: 'previous_response_not_found',
    param: 'previous_response_id',
  });

/** Written by `keepResponse`. */
export function keptResponse({ body }: StoredObject): { response: JsonObject; input: readonly JsonObject[] } {
  return { response: body['response'] as JsonObject, input: body['input'] as readonly JsonObject[] };
}

const outputOf = ({ output }: JsonObject): readonly JsonObject[] =>
  Array.isArray(output) ? (output as readonly JsonObject[]) : []; // our own

/** Keeps a response as the turn wants it: by itself, and in its conversation once it is complete. */
export async function keepResponse(
  { objects }: Pick<ResponsesDeps, 'objects'>,
  turn: Turn,
  response: JsonObject,
  context: RequestContext,
): Promise<void> {
  if (turn.store) {
    await objects.put({
      kind: 'response',
      id: String(response['id']),
      owner: context.caller.id,
      createdAt: Number(response['created_at']),
      expiresAt: nowSeconds() + keptSeconds,
      body: { response, input: turn.input },
    });
  }
  if (turn.conversation !== undefined && ['completed', 'incomplete'].includes(String(response['status']))) {
    await appendItems(objects, turn.conversation, [...turn.input, ...outputOf(response)], context);
  }
}

/** A response of this caller. Throws not_found. */
export async function loadResponse(
  { objects }: Pick<ResponsesDeps, 'objects'>,
  id: string,
  context: RequestContext,
): Promise<StoredObject> {
  const stored = await objects.get('response', id, context.caller.id);
  if (stored) return stored;
  throw new GatewayError('not_found', `Response with id '${id.slice(0, 100)}' not found.`, { param: 'response_id' });
}
