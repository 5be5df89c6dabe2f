import { systemClock } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import {
  type AuditTable,
  type Content,
  csv,
  parseUsageQuery,
  type UsageTable,
  usageQueryFor,
  usageRows,
} from '../../policy/reports.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { adminEndpoint } from '../admin.ts';
import type { RouteEntry } from '../deps.ts';
import { endpoint } from '../endpoint.ts';
import type { HttpDeps } from '../env.ts';
import { idOf } from '../json.ts';

export interface ReportDeps {
  readonly usage: UsageTable;
  readonly audit: AuditTable;
  /** Everything written so far can be read. */
  readonly settled: () => Promise<void>;
  /** Prompts and answers, masked, where they are kept; newest first. */
  readonly contents: (query: { readonly callerId?: string; readonly limit: number }) => Promise<readonly Content[]>;
  /** Deletes what was kept of a caller: usage, stored objects, contents. */
  readonly forget: (callerId: string, actor: string) => Promise<void>;
}

/** `GET /v1/usage` for every caller about itself and for admins about all; the audit trail for admins. */
export function reportRoutes(
  deps: HttpDeps,
  { usage, audit, settled, contents, forget }: ReportDeps,
): readonly RouteEntry[] {
  const report = endpoint(deps, encodeError, async (c, { context, json, sink, headers }) => {
    const query = usageQueryFor(context.caller, parseUsageQuery(c.req.query(), systemClock.wall()));
    await settled().catch(() => {}); // the books are behind: what is there is told
    const sums = await usage.sum(query);
    if (c.req.query('format') === 'csv') {
      sink.start(200, { ...headers, 'content-type': 'text/csv; charset=utf-8' });
      sink.end(csv(usageRows(query.groupBy, sums)));
      return;
    }
    json({
      object: 'usage',
      from: new Date(query.fromMs).toISOString(),
      to: new Date(query.toMs).toISOString(),
      total_usd: sums.reduce((sum, { costUsd }) => sum + costUsd, 0),
      data: sums.map(({ group, ...sum }) => ({
        ...group,
        requests: sum.requests,
        failed: sum.failed,
        cache_hits: sum.cacheHits,
        prompt_tokens: sum.promptTokens,
        completion_tokens: sum.completionTokens,
        cached_tokens: sum.cachedTokens,
        cost_usd: sum.costUsd,
        energy_joules: sum.energyJoules,
      })),
    });
  });

  const trail = adminEndpoint(deps, async (c, { json }) => {
    const limit = Math.min(1000, Math.max(1, Number(c.req.query('limit') ?? 100) || 100));
    const action = c.req.query('action');
    await settled().catch(() => {}); // as above
    json({ object: 'list', data: await audit.list({ limit, ...(action !== undefined && { action }) }) });
  });
  const verify = adminEndpoint(deps, async (_c, { json }) => {
    await settled();
    json(await audit.verify());
  });
  const kept = adminEndpoint(deps, async (c, { json }) => {
    const limit = Math.min(500, Math.max(1, Number(c.req.query('limit') ?? 50) || 50));
    const callerId = c.req.query('caller');
    json({ object: 'list', data: await contents({ limit, ...(callerId !== undefined && { callerId }) }) });
  });
  const erase = adminEndpoint(deps, async (c, { json, context }) => {
    const id = idOf(c);
    if (!id) throw new GatewayError('invalid_request', 'Name a caller.');
    await settled();
    await forget(id, context.caller.id);
    json({ object: 'caller.deleted', id, deleted: true });
  });

  return [
    ['GET', '/v1/usage', report],
    ['GET', '/admin/audit', trail],
    ['GET', '/admin/audit/verify', verify],
    ['GET', '/admin/contents', kept],
    ['DELETE', '/admin/callers/:id', erase],
  ];
}
