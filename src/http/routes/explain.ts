import * as z from 'zod';
import type { JsonObject } from '../../core/json.ts';
import { once } from '../../core/once.ts';
import type { ChatRequest } from '../../core/request.ts';
import type { RequestContext } from '../../core/run.ts';
import { openaiChat } from '../../wire/openai/format.ts';
import { parseBody } from '../../wire/validate.ts';
import { adminEndpoint } from '../admin.ts';
import { parseJsonObject, readBody } from '../body.ts';
import type { RouteEntry } from '../deps.ts';
import type { HttpDeps } from '../env.ts';

/** Who would ask, and what filters and a classifier would find; all of it optional. */
const asked = once(() =>
  z.strictObject({
    request: z.record(z.string(), z.unknown()),
    caller: z.string().max(200).optional(),
    team: z.string().max(200).optional(),
    tags: z.array(z.string().max(200)).max(100).optional(),
    label: z.string().max(200).optional(),
    found: z.array(z.string().max(200)).max(100).optional(),
  }),
);

/** Whom a request would ask now; nothing is sent. */
export type ExplainNow = (request: ChatRequest, context: RequestContext, label?: string) => JsonObject;

/** `POST /admin/explain`: the plan of a chat request with the targets as they are at this moment. For admins. */
export const explainRoute = (deps: HttpDeps, explain: ExplainNow): RouteEntry => [
  'POST',
  '/admin/explain',
  adminEndpoint(deps, async (c, { context, json }) => {
    const body = parseJsonObject(await readBody(c, deps.options.maxBodyBytes));
    const { request, caller: id = 'anonymous', team, tags = [], label, found } = parseBody(asked(), body);
    const decoded = openaiChat.decode(request as JsonObject, { headers: {} }); // out of JSON.parse
    const caller = { id, role: 'caller', tags, tenant: id, ...(team !== undefined && { team }) } as const;
    json(
      explain(
        found && found.length > 0 ? { ...decoded, labels: found } : decoded,
        { ...context, caller, endpoint: '/v1/chat/completions', headers: {} },
        label,
      ),
    );
  }),
];
