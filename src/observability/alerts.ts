import { type Clock, systemClock } from '../core/clock.ts';
import { isClientFault } from '../core/errors.ts';
import type { RecordSink } from '../core/record.ts';
import type { Status } from '../core/status.ts';
import type { Quality } from './quality.ts';
import { createMovingQuantiles } from './quantiles.ts';

/** When somebody is told. A limit of 0 is never reached: that alert is off. */
export interface AlertLimits {
  /** Share of requests that fail by our fault or an upstream's, over five minutes. */
  readonly errorShare: number;
  /** 95th percentile of the time to first token, over five minutes. */
  readonly ttftMs: number;
  readonly waiting: number;
  /** Spent share of a budget. */
  readonly budgetShare: number;
  /** Population stability index of any signal of any version. */
  readonly drift: number;
  /** Engine restarts within a quarter of an hour. */
  readonly restarts: number;
}

export const defaultAlertLimits: AlertLimits = {
  errorShare: 0.05,
  ttftMs: 10_000,
  waiting: 16,
  budgetShare: 0.9,
  drift: 0.25,
  restarts: 2,
};

/** The names are those of deploy/prometheus/alerts.yml; what only the gateway itself can tell has names of its own. */
export interface Alert {
  readonly name: string;
  readonly severity: 'warning' | 'critical';
  readonly labels: Readonly<Record<string, string>>;
  readonly summary: string;
}

export interface AlertsOptions {
  readonly limits?: Partial<AlertLimits>;
  readonly status?: Status;
  readonly quality?: Quality;
  /** Posts one message; what it throws is tried again at the next check. */
  readonly send: (message: AlertMessage) => Promise<void>;
  /** An alert is told after its condition has held for so long. */
  readonly holdMs?: number;
  readonly clock?: Clock;
}

/** Alertmanager's webhook message, version 4, as far as receivers read it. */
export interface AlertMessage {
  readonly version: '4';
  readonly status: 'firing' | 'resolved';
  readonly receiver: 'tidegate';
  readonly alerts: readonly {
    readonly status: 'firing' | 'resolved';
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: { readonly summary: string };
    readonly startsAt: string;
    readonly endsAt?: string;
  }[];
}

/** The gateway's own failures and its upstreams'. */
const isFailure = (outcome: string): boolean => outcome !== 'ok' && !isClientFault(outcome);
const windowMs = 5 * 60_000;
const restartWindowMs = 15 * 60_000;
/** Fewer requests than this in the window are no rate. */
const enoughRequests = 10;

interface Known {
  readonly alert: Alert;
  readonly sinceMs: number;
  readonly startsAt: string;
  told: boolean;
}

/** Watches the gateway by itself, for those who run no Prometheus. `check` is called every few seconds by whoever owns a timer. */
export function createAlerts({
  limits: given = {},
  status = {},
  quality,
  send,
  holdMs = 60_000,
  clock = systemClock,
}: AlertsOptions): {
  readonly sink: RecordSink;
  check(): Promise<void>;
} {
  const limits = { ...defaultAlertLimits, ...given };
  const ttft = createMovingQuantiles(windowMs / 1000);
  /** Per ten seconds: when, all, failed. */
  let slots: { readonly at: number; all: number; failed: number }[] = [];
  let restarts: { readonly atMs: number; readonly total: number }[] = [];
  const known = new Map<string, Known>();

  const over = (value: number, limit: number) => limit > 0 && value > limit;

  function* conditions(nowMs: number): Generator<Alert> {
    slots = slots.filter(({ at }) => nowMs - at * 10_000 < windowMs);
    const all = slots.reduce((sum, slot) => sum + slot.all, 0);
    const failed = slots.reduce((sum, slot) => sum + slot.failed, 0);
    if (all >= enoughRequests && over(failed / all, limits.errorShare)) {
      yield alert('TidegateErrors', 'critical', {}, `${percent(failed / all)} of the requests fail`);
    }
    const [p95] = ttft.at([0.95], nowMs);
    if (all >= enoughRequests && p95 && over(p95, limits.ttftMs)) {
      yield alert(
        'TidegateFirstTokenSlow',
        'critical',
        {},
        `first tokens take ${Math.round(p95)} ms at the 95th percentile`,
      );
    }
    const engines = status.engines?.() ?? [];
    for (const { model, waiting } of engines) {
      if (over(waiting, limits.waiting)) {
        yield alert('TidegateQueue', 'warning', { model }, `${waiting} requests wait for a slot of ${model}`);
      }
    }
    for (const { target, breaker } of status.targets?.() ?? []) {
      if (breaker === 'open') {
        const summary = `${target} fails so often that it is not called any more`;
        yield alert('TidegateBreakerOpen', 'warning', { target }, summary);
      }
    }
    for (const [part, state] of Object.entries(status.unwell?.() ?? {})) {
      yield alert('TidegateUnwell', 'critical', { part, state }, `${part} is ${state}`);
    }
    for (const { owner, usedUsd, limitUsd, budget = '', reached = 0 } of status.budgets?.() ?? []) {
      if (reached > 0) {
        const summary = `${owner} has spent ${percent(usedUsd / limitUsd)} of the budget '${budget}'`;
        const labels = { owner, budget, threshold: String(reached) };
        yield alert('TidegateBudgetThreshold', reached >= 1 ? 'critical' : 'warning', labels, summary);
      }
      if (limitUsd > 0 && over(usedUsd / limitUsd, limits.budgetShare)) {
        const summary = `${owner} has spent ${percent(usedUsd / limitUsd)} of its budget`;
        yield alert('TidegateBudget', 'warning', { owner }, summary);
      }
    }
    for (const { model, target, signals } of quality?.report().versions ?? []) {
      for (const { name, psi } of signals) {
        if (psi !== null && over(psi, limits.drift)) {
          const summary = `${name} of ${target} has drifted (PSI ${psi.toFixed(2)})`;
          yield alert('TidegateDrift', 'warning', { model, target, signal: name }, summary);
        }
      }
    }
    const total = engines.reduce((sum, { counters }) => sum + counters.restarts, 0);
    restarts = [...restarts.filter(({ atMs }) => nowMs - atMs < restartWindowMs), { atMs: nowMs, total }];
    if (over(total - (restarts[0]?.total ?? total), limits.restarts)) {
      yield alert('TidegateEngineRestarts', 'critical', {}, 'an engine keeps ending and starting again');
    }
  }

  return {
    sink({ outcome, ttftMs }) {
      const nowMs = clock.now();
      const at = Math.floor(nowMs / 10_000);
      let slot = slots.at(-1);
      if (slot?.at !== at) {
        slot = { at, all: 0, failed: 0 };
        slots.push(slot);
        if (slots.length > windowMs / 10_000 + 1) slots.shift();
      }
      slot.all++;
      if (isFailure(outcome)) slot.failed++;
      if (ttftMs !== undefined) ttft.add(ttftMs, nowMs);
    },
    async check() {
      const nowMs = clock.now();
      const wall = new Date(clock.wall()).toISOString();
      const holding = new Map([...conditions(nowMs)].map((found) => [keyOf(found), found]));
      for (const [key, found] of holding) {
        if (!known.has(key)) known.set(key, { alert: found, sinceMs: nowMs, startsAt: wall, told: false });
      }
      const firing = [...known].filter(
        ([key, { sinceMs, told }]) => holding.has(key) && !told && nowMs - sinceMs >= holdMs,
      );
      const gone = [...known].filter(([key]) => !holding.has(key));
      for (const [key, entry] of gone) if (!entry.told) known.delete(key);
      const resolved = gone.filter(([, { told }]) => told);
      if (firing.length > 0) {
        await send(
          messageOf(
            'firing',
            firing.map(([key, entry]) => ({ ...entry, alert: holding.get(key) ?? entry.alert })),
          ),
        );
        for (const [, entry] of firing) entry.told = true;
      }
      if (resolved.length > 0) {
        await send(
          messageOf(
            'resolved',
            resolved.map(([, entry]) => entry),
            wall,
          ),
        );
        for (const [key] of resolved) known.delete(key);
      }
    },
  };
}

const alert = (name: string, severity: Alert['severity'], labels: Alert['labels'], summary: string): Alert => ({
  name,
  severity,
  labels,
  summary,
});
const keyOf = ({ name, labels }: Alert) => `${name} ${Object.values(labels).join(' ')}`;
const percent = (share: number) => `${Math.round(share * 100)} %`;

const messageOf = (status: AlertMessage['status'], entries: readonly Known[], endsAt?: string): AlertMessage => ({
  version: '4',
  status,
  receiver: 'tidegate',
  alerts: entries.map(({ alert: { name, severity, labels, summary }, startsAt }) => ({
    status,
    labels: { alertname: name, severity, ...labels },
    annotations: { summary },
    startsAt,
    ...(endsAt !== undefined && { endsAt }),
  })),
});
