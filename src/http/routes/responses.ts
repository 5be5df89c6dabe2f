import { GatewayError } from '../../core/errors.ts';
import { leftOutWarning } from '../../core/request.ts';
import { collect } from '../../core/streams.ts';
import { createResponseEncoder, type ResponseEncoder } from '../../wire/responses/encode.ts';
import { openaiResponses, responseAnswer } from '../../wire/responses/format.ts';
import { encodeResponse } from '../../wire/responses/whole.ts';
import { invalidValue } from '../../wire/validate.ts';
import { answerInBackground, settledResponse, stopResponse } from '../background.ts';
import { parseJsonObject, readBody } from '../body.ts';
import type { Exchange } from '../endpoint.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';
import { answer, resumable } from '../generation.ts';
import { getRoute, idOf, jsonRoute } from '../json.ts';
import { pageItems, pageOf } from '../list.ts';
import {
  keepResponse,
  keptResponse,
  loadResponse,
  type ResponsesDeps,
  readTurn,
  type Turn,
} from '../response-turns.ts';
import { sendLog } from '../resume.ts';
import { metaOf, runHeaders } from '../run-meta.ts';
import { countPromptTokens } from './whole-calls.ts';

/** `POST /v1/responses` */
export function createResponse(deps: ResponsesDeps): (c: AppContext) => Promise<Response> {
  return resumable(deps, openaiResponses.encodeError, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const turn = await readTurn(deps, parseJsonObject(bytes), bytes, headersOf(c), exchange.context);
    if (turn.background) {
      const { leftOut } = turn.request;
      const warning = leftOut && { 'x-tidegate-warning': leftOutWarning(leftOut) };
      await answerInBackground(deps, turn, { ...exchange, headers: { ...exchange.headers, ...warning } });
    } else if (!turn.store && turn.conversation === undefined)
      await answer(deps, openaiResponses, turn.request, exchange);
    else if (turn.request.stream) await answerKept(deps, turn, exchange);
    else await answerWhole(deps, turn, exchange);
  });
}

async function answerWhole(deps: ResponsesDeps, turn: Turn, exchange: Exchange): Promise<void> {
  const { context } = exchange;
  const run = await deps.gateway.stream(turn.request, context);
  const collected = await collect(run.events);
  const response = encodeResponse(collected, responseAnswer(metaOf(turn.request, run, context)));
  await keepResponse(deps, turn, response, context);
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
        await keepResponse(deps, turn, encoder.response(), context);
      }
      return { ...run, events: events() };
    },
  };
  await answer({ ...deps, gateway }, format, turn.request, exchange);
}

/** `GET /v1/responses/{id}`; `?stream=true&starting_after=n` replays a background response's events. */
export const getResponse = (deps: ResponsesDeps) =>
  getRoute(deps, async (exchange, c) => {
    const { stored, log } = await settledResponse(deps, idOf(c), exchange.context);
    if (c.req.query('stream') !== 'true') {
      exchange.json(keptResponse(stored).response);
      return;
    }
    if (!log) {
      throw invalidValue('stream', 'This response can no longer be streamed; get it without stream.');
    }
    const after = Number(c.req.query('starting_after') ?? -1);
    if (!Number.isInteger(after) || after < -1) {
      throw invalidValue('starting_after', "Invalid 'starting_after': expected a sequence number.");
    }
    await sendLog(deps, log, after, exchange);
  });

/** `DELETE /v1/responses/{id}`; one that is being made is stopped first. */
export const deleteResponse = (deps: ResponsesDeps) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { log } = await settledResponse(deps, idOf(c), context);
    await stopResponse(log, context.signal, 'The response was deleted.'); // its end would bring it back
    await deps.objects.delete('response', idOf(c), context.caller.id);
    await deps.streams.forget(idOf(c), context.caller.id);
    json({ id: idOf(c), object: 'response', deleted: true });
  });

/** Stops a background response and gives what there is of it. */
export const cancelResponse = (deps: ResponsesDeps) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { stored, log } = await settledResponse(deps, idOf(c), context);
    if (keptResponse(stored).response['background'] !== true) {
      throw notCancellable('Only a background response can be cancelled.');
    }
    await stopResponse(log, context.signal, 'The response was cancelled.');
    const { response: now } = keptResponse(await loadResponse(deps, idOf(c), context));
    if (now['status'] !== 'cancelled') {
      throw notCancellable(`A response that is ${String(now['status'])} can't be cancelled.`);
    }
    json(now);
  });

const notCancellable = (message: string) => new GatewayError('invalid_request', message, { code: 'invalid_value' });

/** `GET /v1/responses/{id}/input_items` */
export const listInputItems = (deps: ResponsesDeps) =>
  getRoute(deps, async ({ context, json }, c) => {
    const { input } = keptResponse(await loadResponse(deps, idOf(c), context));
    json(pageItems(input, pageOf(c)));
  });

/** `POST /v1/responses/input_tokens` */
export const countInputTokens = (deps: ResponsesDeps) =>
  jsonRoute(deps, async (body, { context, json }) => {
    const asked = { ...body, store: false, background: false };
    const { request } = await readTurn(deps, asked, new Uint8Array(), context.headers, context);
    json({ object: 'response.input_tokens', input_tokens: await countPromptTokens(deps, request, context) });
  });
