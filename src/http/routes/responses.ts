import { randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import type { ObjectStore, StoredObject } from '../../core/objects.ts';
import { type ChatRequest, readable } from '../../core/request.ts';
import type { RequestContext } from '../../core/run.ts';
import { collect } from '../../core/streams.ts';
import { decodeResponseRequest } from '../../wire/responses/decode.ts';
import { createResponseEncoder, encodeResponse, type ResponseEncoder } from '../../wire/responses/encode.ts';
import { openaiResponses, responseAnswer } from '../../wire/responses/format.ts';
import { type Input, inputItems } from '../../wire/responses/items.ts';
import { responseRequestSchema } from '../../wire/responses/schema.ts';
import { parseBody } from '../../wire/validate.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { type Exchange, endpoint } from '../endpoint.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';
import { answer, metaOf, runHeaders } from '../generation.ts';
import { getRoute, jsonRoute } from '../json.ts';
import { pageItems, pageOf } from '../list.ts';
import { runDetached, sendLog } from '../resume.ts';
import { type StreamLogs, splitEvents } from '../stream-log.ts';
import { appendItems, loadConversation, storedItems } from './conversations.ts';
import { countPromptTokens } from './whole-calls.ts';

export interface ResponsesDeps extends HttpDeps {
  readonly objects: ObjectStore;
  readonly streams: StreamLogs;
}

/** OpenAI keeps responses for thirty days. */
const keptSeconds = 30 * 24 * 3600;
/** Longer chains of `previous_response_id` are cut at their beginning. */
const maxChain = 1000;
const nowSeconds = () => Math.floor(Date.now() / 1000);

/** One turn: what was asked, what came before it, where it is kept. */
interface Turn {
  readonly request: ChatRequest;
  /** The client's own items of this turn, as they are kept. */
  readonly input: readonly JsonObject[];
  readonly store: boolean;
  readonly background: boolean;
  readonly conversation: string | undefined;
  readonly previous: string | undefined;
}

/** `POST /v1/responses` */
export function createResponse(deps: ResponsesDeps): (c: AppContext) => Promise<Response> {
  return endpoint(deps, openaiResponses.encodeError, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const turn = await readTurn(deps, parseJsonObject(bytes), bytes, headersOf(c), exchange.context);
    const ignored = turn.request.answer?.['ignored'];
    const warned = Array.isArray(ignored) && ignored.length > 0;
    const headers = warned ? { 'x-tidegate-warning': headerText(`ignored: ${ignored.join(', ')}`) } : {};
    const told = { ...exchange, headers: { ...exchange.headers, ...headers } };
    if (turn.background) await answerInBackground(deps, turn, told);
    else if (!turn.store && turn.conversation === undefined) await answer(deps, openaiResponses, turn.request, told);
    else if (turn.request.stream) await answerKept(deps, turn, told);
    else await answerWhole(deps, turn, told);
  });
}

const headerText = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 500);

async function readTurn(
  deps: ResponsesDeps,
  body: JsonObject,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>>,
  context: RequestContext,
): Promise<Turn> {
  const parsed = parseBody(responseRequestSchema, body);
  const conversation = typeof parsed.conversation === 'string' ? parsed.conversation : parsed.conversation?.id;
  const previous = parsed.previous_response_id ?? undefined;
  if (conversation !== undefined && previous !== undefined) {
    throw new GatewayError('invalid_request', "Use either 'conversation' or 'previous_response_id', not both.", {
      code: 'invalid_value',
      param: 'previous_response_id',
    });
  }
  const background = parsed.background ?? false;
  const store = parsed.store ?? true;
  if (background && !store) {
    throw new GatewayError('invalid_request', "'background' needs 'store' to be true.", {
      code: 'invalid_value',
      param: 'background',
    });
  }
  const own = inputItems(parsed.input as Input); // out of JSON.parse, checked by the decoder
  const history = await historyOf(deps, { conversation, previous }, context);
  const keeps = store || conversation !== undefined;
  if (history.length === 0 && !own.some(isReference)) {
    const request = decodeResponseRequest(body, { bytes, headers });
    const input = keeps ? storedItems(own) : own;
    return { request: keeps ? readable(request) : request, input, store, background, conversation, previous };
  }
  const resolved = own.map((item) => (isReference(item) ? referenced(item, history) : item));
  // Once for the client's own items, so that a fault is named by their place.
  if (resolved.length > 0) decodeResponseRequest({ ...body, input: resolved }, { headers });
  const request = decodeResponseRequest({ ...body, input: [...history, ...resolved] }, { headers });
  return { request: readable(request), input: storedItems(resolved), store, background, conversation, previous };
}

const isReference = (item: JsonObject): boolean => item['type'] === 'item_reference';

function referenced(reference: JsonObject, history: readonly JsonObject[]): JsonObject {
  const found = history.find((item) => item['id'] === reference['id']);
  if (found) return found;
  throw new GatewayError('not_found', `Item with id '${String(reference['id']).slice(0, 100)}' not found.`, {
    param: 'input',
  });
}

/** The items of the turns before this one, oldest first. Instructions are not inherited. */
async function historyOf(
  { objects }: ResponsesDeps,
  { conversation, previous }: Pick<Turn, 'conversation' | 'previous'>,
  context: RequestContext,
): Promise<readonly JsonObject[]> {
  if (conversation !== undefined) return (await loadConversation(objects, conversation, context)).conversation.items;
  const turns: (readonly JsonObject[])[] = [];
  let id = previous;
  while (id !== undefined && turns.length < maxChain) {
    const stored = await objects.get('response', id, context.caller.id);
    if (!stored && turns.length === 0) throw previousNotFound(id);
    if (!stored) break; // deleted since
    const { response, input } = keptResponse(stored);
    const output = Array.isArray(response['output']) ? (response['output'] as readonly JsonObject[]) : []; // our own
    turns.push([...input, ...output]);
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

/** Written by `keep`. */
function keptResponse({ body }: StoredObject): { response: JsonObject; input: readonly JsonObject[] } {
  return { response: body['response'] as JsonObject, input: body['input'] as readonly JsonObject[] };
}

async function keep(deps: ResponsesDeps, turn: Turn, response: JsonObject, context: RequestContext): Promise<void> {
  const { objects } = deps;
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
  if (turn.conversation !== undefined && response['status'] !== 'failed') {
    const output = Array.isArray(response['output']) ? (response['output'] as readonly JsonObject[]) : []; // our own
    await appendItems(objects, turn.conversation, [...turn.input, ...output], context);
  }
}

async function answerWhole(deps: ResponsesDeps, turn: Turn, exchange: Exchange): Promise<void> {
  const { context } = exchange;
  const run = await deps.gateway.stream(turn.request, context);
  const collected = await collect(run.events);
  const response = encodeResponse(collected, responseAnswer(metaOf(turn.request, run, context)));
  await keep(deps, turn, response, context);
  exchange.json(response, 200, { ...exchange.headers, ...runHeaders(run, context) });
}

/** Streams, and keeps the response before its last event goes out: whoever has read it can refer to it. */
async function answerKept(deps: ResponsesDeps, turn: Turn, exchange: Exchange): Promise<void> {
  let encoder: ResponseEncoder | undefined;
  let last = '';
  const format: typeof openaiResponses = {
    ...openaiResponses,
    encodeStream(meta) {
      const made = createResponseEncoder(responseAnswer(meta));
      encoder = made;
      return { push: made.push, end: () => last, error: made.error };
    },
  };
  const gateway: HttpDeps['gateway'] = {
    ...deps.gateway,
    async stream(request, context) {
      const run = await deps.gateway.stream(request, context);
      async function* events() {
        yield* run.events;
        if (!encoder) return;
        last = encoder.end();
        await keep(deps, turn, encoder.response(), context);
      }
      return { ...run, events: events() };
    },
  };
  await answer({ ...deps, gateway }, format, turn.request, exchange);
}

/** Answers at once with the queued response; the work goes on without the client. */
async function answerInBackground(deps: ResponsesDeps, turn: Turn, exchange: Exchange): Promise<void> {
  const { context } = exchange;
  const id = context.answerId ?? randomId('');
  const meta = { id, createdAt: nowSeconds(), request: turn.request };
  const encoder = createResponseEncoder({ ...responseAnswer(meta), queued: true });
  const queued = encoder.response();
  deps.gateway.model(turn.request.model, context); // throws model_not_found while there still is an HTTP status
  await keep(deps, { ...turn, conversation: undefined }, queued, context);
  const log = deps.streams.open(`resp_${id}`, context.caller.id);
  log.append(splitEvents(encoder.push({ type: 'start' })));
  runDetached(deps, turn.request, { ...context, answerId: id }, encoder, log, () =>
    keep(deps, turn, encoder.response(), context),
  );
  if (turn.request.stream) await sendLog(deps, log, -1, exchange);
  else exchange.json(queued, 200, exchange.headers);
}

const idOf = (c: AppContext): string => c.req.param('id') ?? '';

async function load({ objects }: ResponsesDeps, id: string, context: RequestContext): Promise<StoredObject> {
  const stored = await objects.get('response', id, context.caller.id);
  if (stored) return stored;
  throw new GatewayError('not_found', `Response with id '${id.slice(0, 100)}' not found.`, { param: 'response_id' });
}

/** `GET /v1/responses/{id}`; `?stream=true&starting_after=n` replays a background response's events. */
export const getResponse = (deps: ResponsesDeps) =>
  getRoute(deps, async (exchange, c) => {
    const { context, json } = exchange;
    const { response } = keptResponse(await load(deps, idOf(c), context));
    if (c.req.query('stream') !== 'true') {
      json(response);
      return;
    }
    const log = deps.streams.find(idOf(c), context.caller.id);
    if (!log) {
      throw new GatewayError('invalid_request', 'This response can no longer be streamed; get it without stream.', {
        code: 'invalid_value',
        param: 'stream',
      });
    }
    const after = Number(c.req.query('starting_after') ?? -1);
    if (!Number.isInteger(after) || after < -1) {
      throw new GatewayError('invalid_request', "Invalid 'starting_after': expected a sequence number.", {
        code: 'invalid_value',
        param: 'starting_after',
      });
    }
    await sendLog(deps, log, after, exchange);
  });

export const deleteResponse = (deps: ResponsesDeps) =>
  getRoute(deps, async ({ context, json }, c) => {
    await load(deps, idOf(c), context);
    deps.streams.find(idOf(c), context.caller.id)?.abort(new GatewayError('cancelled', 'The response was deleted.'));
    await deps.objects.delete('response', idOf(c), context.caller.id);
    json({ id: idOf(c), object: 'response', deleted: true });
  });

/** Stops a background response and gives what there is of it. */
export const cancelResponse = (deps: ResponsesDeps) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { response } = keptResponse(await load(deps, idOf(c), context));
    if (response['background'] !== true) throw notCancellable('Only a background response can be cancelled.');
    const log = deps.streams.find(idOf(c), context.caller.id);
    if (log && !log.done) {
      log.abort(new GatewayError('cancelled', 'The response was cancelled.'));
      for await (const _ of log.follow(-1, context.signal)); // until its end is kept
    }
    const { response: now } = keptResponse(await load(deps, idOf(c), context));
    if (now['status'] !== 'cancelled')
      throw notCancellable(`A response that is ${String(now['status'])} can't be cancelled.`);
    json(now);
  });

const notCancellable = (message: string) => new GatewayError('invalid_request', message, { code: 'invalid_value' });

export const listInputItems = (deps: ResponsesDeps) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { input } = keptResponse(await load(deps, idOf(c), context));
    json(pageItems(input, pageOf(c)));
  });

/** `POST /v1/responses/input_tokens` */
export const countInputTokens = (deps: ResponsesDeps) =>
  jsonRoute(deps, async (body, { context, json }) => {
    const { request } = await readTurn(
      deps,
      { ...body, store: false, background: false },
      new Uint8Array(),
      context.headers,
      context,
    );
    json({ object: 'response.input_tokens', input_tokens: await countPromptTokens(deps, request, context) });
  });
