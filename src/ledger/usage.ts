import { randomId } from '../core/clock.ts';
import { numberOf, stringOf } from '../core/json.ts';
import type { RequestRecord } from '../core/record.ts';
import type { Db, Statement, Value } from './db.ts';

/** What a request used, as it is kept; also the form it has in the write-ahead file. */
export interface UsageRow {
  /** Ours alone: clients may send one `x-request-id` twice, and both requests count. */
  readonly id: string;
  readonly requestId: string;
  /** Unix milliseconds of its beginning. */
  readonly at: number;
  readonly callerId: string;
  readonly team?: string | undefined;
  readonly model: string;
  readonly target?: string | undefined;
  readonly endpoint: string;
  readonly cache: string;
  readonly outcome: string;
  readonly status: number;
  readonly stream: boolean;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly reasoningTokens: number;
  readonly estimated: boolean;
  /** Billionths of a US dollar; absent where the price is not known. */
  readonly costNano?: number | undefined;
  readonly energyJoules?: number | undefined;
  readonly attempts: number;
  readonly durationMs: number;
  readonly ttftMs?: number | undefined;
  readonly user?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** A request’s record as the books hold it. */
export function usageOf(record: RequestRecord, id = randomId('use_')): UsageRow {
  const { usage } = record;
  return {
    id,
    requestId: record.requestId,
    at: Math.round(record.startedAt),
    callerId: record.callerId,
    team: record.team,
    model: record.model,
    target: record.target,
    endpoint: record.endpoint,
    cache: record.cache,
    outcome: record.outcome,
    status: record.status,
    stream: record.stream,
    promptTokens: usage?.promptTokens ?? 0,
    completionTokens: usage?.completionTokens ?? 0,
    cachedTokens: usage?.cachedTokens ?? 0,
    reasoningTokens: usage?.reasoningTokens ?? 0,
    estimated: usage?.estimated ?? false,
    costNano: record.costUsd === undefined ? undefined : Math.ceil(record.costUsd * 1e9 - 1e-6),
    energyJoules: usage?.energyJoules,
    attempts: record.attempts.length,
    durationMs: record.durationMs,
    ttftMs: record.ttftMs,
    user: record.user?.slice(0, 512),
    metadata: record.metadata,
  };
}

/** Inserts a row once: the same row again changes nothing. */
export function insertUsage(row: UsageRow): Statement {
  const params: Value[] = [
    row.id,
    row.requestId,
    row.at,
    row.callerId,
    row.team ?? null,
    row.model,
    row.target ?? null,
    row.endpoint,
    row.cache,
    row.outcome,
    row.status,
    Number(row.stream),
    row.promptTokens,
    row.completionTokens,
    row.cachedTokens,
    row.reasoningTokens,
    Number(row.estimated),
    row.costNano ?? null,
    row.energyJoules ?? null,
    row.attempts,
    row.durationMs,
    row.ttftMs ?? null,
    row.user?.replaceAll('\0', '') ?? null, // no database keeps a NUL in a text as others do
    row.metadata ? JSON.stringify(row.metadata) : null,
  ];
  return { sql: insertSql, params };
}

const insertSql = `INSERT INTO usage (id, request_id, at, caller_id, team, model, target, endpoint, cache, outcome, status,
  stream, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, estimated, cost_nano, energy_joules,
  attempts, duration_ms, ttft_ms, end_user, metadata)
  VALUES (${Array.from({ length: 24 }, () => '?').join(', ')}) ON CONFLICT (id) DO NOTHING`;

/** Sums of usage, by what they are grouped by. */
export interface UsageSum {
  readonly group: Readonly<Record<string, string>>;
  readonly requests: number;
  readonly failed: number;
  readonly cacheHits: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly costUsd: number;
  readonly energyJoules: number;
}

export const usageGroups = ['day', 'key', 'team', 'model', 'target', 'endpoint', 'user', 'outcome'] as const;
export type UsageGroup = (typeof usageGroups)[number];

export interface UsageQuery {
  readonly fromMs: number;
  readonly toMs: number;
  readonly groupBy: readonly UsageGroup[];
  readonly callerId?: string;
  readonly team?: string;
  readonly model?: string;
}

export interface UsageTable {
  /** By cost, dearest first. */
  sum(query: UsageQuery): Promise<readonly UsageSum[]>;
  /** US dollars that one key, team or model, or all together, spent in a time. */
  spent(per: 'key' | 'team' | 'model' | 'all', id: string, fromMs: number, toMs: number): Promise<number>;
  has(requestId: string): Promise<boolean>;
  /** Rows older than so are deleted; gives their number. */
  prune(beforeMs: number): Promise<number>;
  /** Everything of one caller. */
  forget(callerId: string): Promise<number>;
}

const groupColumns: Readonly<Record<UsageGroup, string>> = {
  day: '(at / 86400000)',
  key: 'caller_id',
  team: 'team',
  model: 'model',
  target: 'target',
  endpoint: 'endpoint',
  user: 'end_user',
  outcome: 'outcome',
};

/** What was used, by whom and when. */
export function usageTable(db: Db): UsageTable {
  return {
    async sum({ fromMs, toMs, groupBy, callerId, team, model }) {
      const wheres = ['at >= ?', 'at < ?'];
      const params: Value[] = [fromMs, toMs];
      for (const [column, value] of [
        ['caller_id', callerId],
        ['team', team],
        ['model', model],
      ] as const) {
        if (value === undefined) continue;
        wheres.push(`${column} = ?`);
        params.push(value);
      }
      const groups = groupBy.map((name) => groupColumns[name]);
      const named = groups.map((column, i) => `${column} AS g${i}, `).join('');
      const rows = await db.all(
        `SELECT ${named}COUNT(*) AS requests,
          CAST(SUM(CASE WHEN outcome = 'ok' THEN 0 ELSE 1 END) AS BIGINT) AS failed,
          CAST(SUM(CASE WHEN cache IN ('hit', 'stale', 'coalesced') THEN 1 ELSE 0 END) AS BIGINT) AS hits,
          CAST(SUM(prompt_tokens) AS BIGINT) AS prompt, CAST(SUM(completion_tokens) AS BIGINT) AS completion,
          CAST(SUM(cached_tokens) AS BIGINT) AS cached, CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) AS cost,
          COALESCE(SUM(energy_joules), 0) AS joules
        FROM usage WHERE ${wheres.join(' AND ')}
        ${groups.length > 0 ? `GROUP BY ${groups.join(', ')}` : ''} ORDER BY cost DESC, requests DESC LIMIT 10000`,
        params,
      );
      return rows
        .filter((row) => row['requests'] !== 0)
        .map((row) => ({
          group: Object.fromEntries(groupBy.map((name, i) => [name, groupText(name, row[`g${i}`])])),
          requests: numberOf(row['requests']) ?? 0,
          failed: numberOf(row['failed']) ?? 0,
          cacheHits: numberOf(row['hits']) ?? 0,
          promptTokens: numberOf(row['prompt']) ?? 0,
          completionTokens: numberOf(row['completion']) ?? 0,
          cachedTokens: numberOf(row['cached']) ?? 0,
          costUsd: (numberOf(row['cost']) ?? 0) / 1e9,
          energyJoules: numberOf(row['joules']) ?? 0,
        }));
    },
    async spent(per, id, fromMs, toMs) {
      const column = { key: 'caller_id', team: 'team', model: 'model', all: undefined }[per];
      const [row] = await db.all(
        `SELECT CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) AS cost FROM usage
         WHERE at >= ? AND at < ?${column ? ` AND ${column} = ?` : ''}`,
        column ? [fromMs, toMs, id] : [fromMs, toMs],
      );
      return (numberOf(row?.['cost']) ?? 0) / 1e9;
    },
    has: async (requestId) =>
      (await db.all('SELECT id FROM usage WHERE request_id = ? LIMIT 1', [requestId])).length > 0,
    prune: (beforeMs) => db.run('DELETE FROM usage WHERE at < ?', [beforeMs]),
    forget: (callerId) => db.run('DELETE FROM usage WHERE caller_id = ?', [callerId]),
  };
}

const groupText = (name: UsageGroup, value: Value | undefined): string =>
  name === 'day' ? new Date((numberOf(value) ?? 0) * 86_400_000).toISOString().slice(0, 10) : (stringOf(value) ?? '');
