import type { Caller } from '../core/run.ts';

/** Money that may be spent in a period. Periods are UTC; weeks begin on Monday. */
export interface BudgetRule {
  readonly name: string;
  /** Each key, each team or each model has this budget for itself; `all` share one. */
  readonly per: 'key' | 'team' | 'model' | 'all';
  /** Only these keys (id or name), teams or models; absent means every one. */
  readonly only?: readonly string[] | undefined;
  readonly period: 'day' | 'week' | 'month';
  readonly usd: number;
  /** Shares of the budget (0..1) at which an alert is given, once per period. */
  readonly warnAt: readonly number[];
  /** At the edge: end answers and refuse requests, or send requests to this cheaper model. */
  readonly reroute?: string | undefined;
}

/** Whose spending a budget counts. */
export interface BudgetOwner {
  readonly per: BudgetRule['per'];
  /** Key id, team or model; empty for all together. */
  readonly id: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Money is counted in whole nano-dollars: sums stay exact. */
export const nano = (usd: number): number => Math.ceil(usd * 1e9 - 1e-6);
/** The same as US dollars, for people. */
export const dollars = (nanoUsd: number): number => nanoUsd / 1e9;

/** The budgets that a request counts against. */
export function budgetsOf(
  rules: readonly BudgetRule[],
  caller: Caller,
  model: string,
  wallMs: number,
): { rule: BudgetRule; owner: BudgetOwner; key: string }[] {
  const found: { rule: BudgetRule; owner: BudgetOwner; key: string }[] = [];
  for (const rule of rules) {
    const id = ownerId(rule, caller, model);
    if (id === undefined) continue;
    const { fromMs, toMs, label } = periodOf(rule.period, wallMs);
    found.push({
      rule,
      owner: { per: rule.per, id, fromMs, toMs },
      key: `budget:${rule.name}:${rule.per}:${id}:${label}`,
    });
  }
  return found;
}

function ownerId({ per, only }: BudgetRule, caller: Caller, model: string): string | undefined {
  switch (per) {
    case 'all':
      return '';
    case 'key':
      return !only || only.includes(caller.id) || only.includes(caller.name ?? '') ? caller.id : undefined;
    case 'team':
      return caller.team !== undefined && (!only || only.includes(caller.team)) ? caller.team : undefined;
    case 'model':
      return !only || only.includes(model) ? model : undefined;
    default:
      return per satisfies never;
  }
}

/** The period that `wallMs` lies in, with a name for it. */
export function periodOf(
  period: BudgetRule['period'],
  wallMs: number,
): { fromMs: number; toMs: number; label: string } {
  const day = 86_400_000;
  const date = new Date(wallMs);
  const midnight = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate());
  const named = (fromMs: number, toMs: number) => ({
    fromMs,
    toMs,
    label: `${period}-${new Date(fromMs).toISOString().slice(0, 10)}`,
  });
  switch (period) {
    case 'day':
      return named(midnight, midnight + day);
    case 'week': {
      const monday = midnight - ((date.getUTCDay() + 6) % 7) * day;
      return named(monday, monday + 7 * day);
    }
    case 'month':
      return named(
        Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1),
        Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1),
      );
    default:
      return period satisfies never;
  }
}
