import { collect } from '../../core/streams.ts';
import { encodeCompaction, summaryRequest } from '../../wire/responses/compaction.ts';
import { jsonRoute } from '../json.ts';
import { historyOf, type ResponsesDeps, readTurn } from '../response-turns.ts';
import { metaOf, runHeaders } from '../run-meta.ts';
import { storedItems } from './conversations.ts';

/** `POST /v1/responses/compact`: a long conversation as a short input for its next turn; the model itself sums it up. */
export const compactResponse = (deps: ResponsesDeps) =>
  jsonRoute(deps, async (body, { context, json, headers }) => {
    const asked = { ...body, store: false, background: false, conversation: null };
    const { request, input, previous } = await readTurn(deps, asked, new Uint8Array(), context.headers, context);
    const history = await historyOf(deps, { conversation: undefined, previous }, context);
    const run = await deps.gateway.stream(summaryRequest(request), context);
    const { choices, usage } = await collect(run.events);
    const { id, createdAt } = metaOf(request, run, context);
    const items = storedItems([...history, ...input]);
    const answer = encodeCompaction(id, createdAt, items, { summary: choices[0]?.text ?? '', usage });
    json(answer, 200, { ...headers, ...runHeaders(run, context) });
  });
