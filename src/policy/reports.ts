import * as z from 'zod';
import { GatewayError } from '../core/errors.ts';
import { once } from '../core/once.ts';
import type { Caller } from '../core/run.ts';
import { parseDurationMs } from '../core/units.ts';
import { type UsageGroup, type UsageQuery, type UsageSum, usageGroups } from '../ledger/usage.ts';

export type { AuditTable } from '../ledger/audit.ts';
export type { Content } from '../ledger/contents.ts';
export type { UsageQuery, UsageSum, UsageTable } from '../ledger/usage.ts';

const day = 86_400_000;

const querySchema = once(() =>
  z.object({
    from: z.string().optional(),
    to: z.string().optional(),
    by: z.string().optional(),
    key: z.string().optional(),
    team: z.string().optional(),
    model: z.string().optional(),
  }),
);

/**
 * What a usage report is about: `from` and `to` are dates, times, or durations back from now (`7d`); `by` names groups
 * with commas between them. Throws invalid_request that names the field.
 */
export function parseUsageQuery(input: unknown, now: number): UsageQuery {
  const { from, to, by, key, team, model } = querySchema().parse(input);
  const groupBy = (by ?? 'day,model')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  for (const name of groupBy) {
    if (!usageGroups.some((group) => group === name)) {
      throw new GatewayError('invalid_request', `'${name}' is no group; use ${usageGroups.join(', ')}.`, {
        param: 'by',
      });
    }
  }
  return {
    fromMs: timeOf(from, 'from', now) ?? now - 30 * day,
    toMs: timeOf(to, 'to', now) ?? now + 1,
    groupBy: groupBy as UsageGroup[], // each was found in the list
    ...(key !== undefined && { callerId: key }),
    ...(team !== undefined && { team }),
    ...(model !== undefined && { model }),
  };
}

/** The same for one caller: an admin may ask about everybody, others only about themselves. */
export function usageQueryFor(caller: Caller, query: UsageQuery): UsageQuery {
  return caller.role === 'admin' ? query : { ...query, callerId: caller.id };
}

function timeOf(text: string | undefined, param: string, now: number): number | undefined {
  if (text === undefined || text === '') return undefined;
  const back = parseDurationMs(text);
  if (back !== undefined) return now - back;
  const at = /^\d{9,10}$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isFinite(at)) return at;
  throw new GatewayError(
    'invalid_request',
    `'${text.slice(0, 50)}' is no time; write 2027-01-31, 7d or unix seconds.`,
    { param },
  );
}

const columns = [
  'requests',
  'failed',
  'cacheHits',
  'promptTokens',
  'completionTokens',
  'cachedTokens',
  'costUsd',
  'energyJoules',
] as const;

/** Rows for a table or CSV: the groups' names first. */
export function usageRows(groupBy: readonly string[], sums: readonly UsageSum[]): readonly (readonly string[])[] {
  const head = [...groupBy, ...columns.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))];
  return [
    head,
    ...sums.map((sum) => [
      ...groupBy.map((name) => sum.group[name] ?? ''),
      ...columns.map((name) =>
        name === 'costUsd' ? sum.costUsd.toFixed(6) : String(Math.round(sum[name] * 1000) / 1000),
      ),
    ]),
  ];
}

/** RFC 4180, and safe to open in a spreadsheet: a cell that would be a formula begins with an apostrophe. */
export function csv(rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => {
    const safe = /^[=+\-@\t\r\n＝＋－＠]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return `${rows.map((row) => row.map(cell).join(',')).join('\r\n')}\r\n`;
}
