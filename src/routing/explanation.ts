import type { JsonObject } from '../core/json.ts';
import type { Explanation } from './attempt.ts';
import type { Planned } from './plan.ts';
import type { TargetStates } from './state.ts';

/** What is known of a target while the gateway runs. */
export interface LiveTarget {
  readonly circuit: 'closed' | 'half-open' | 'open';
  /** False while active health checks fail. */
  readonly healthy: boolean;
  readonly inFlight: number;
  readonly inFlightTokens: number;
  /** Remembered time to first token (peak EWMA); 0 when nothing is known. */
  readonly latencyMs: number;
  /** It asked for silence (429) for so long. */
  readonly coolForMs: number;
  /** Retries and hedges that its budget still allows. */
  readonly retries: number;
}

export interface ExplainedTarget {
  readonly target: string;
  readonly reason: string;
  readonly version?: string;
  readonly trial?: string;
  readonly estimatedUsd?: number;
  /** Predicted by who owns its queue, else remembered. */
  readonly expectedTtftMs?: number;
  readonly local: boolean;
  readonly takesOver: boolean;
  readonly live?: LiveTarget;
}

/** A plan in words and figures, without what only code needs. With `states` it tells how the targets are at this moment. */
export function describeExplanation({ model, plan, rules, facts }: Explanation, states?: TargetStates, now = 0) {
  const live = (target: string) => (states ? { live: liveOf(states, target, now) } : {});
  const shadow = rules.shadow && { target: rules.shadow.target.target.name, share: rules.shadow.share };
  const classifier = rules.classifier && {
    target: rules.classifier.target.name,
    labels: Object.keys(rules.classifier.labels),
  };
  return {
    model,
    request: {
      promptTokens: facts.promptTokens,
      outputTokens: facts.outputTokens,
      language: facts.language,
      label: facts.label,
      labels: facts.request.labels ?? [],
      priority: facts.request.priority,
    },
    targets: plan.targets.map((planned): ExplainedTarget => {
      const { leaf, reason, trial, expectedTtftMs } = planned;
      const { local, prefill } = leaf.target.provider.capabilities;
      const usd = costOf(planned, facts);
      return {
        target: leaf.target.name,
        reason,
        ...(trial && { version: trial.version, trial: trial.trial.name }),
        ...(usd !== undefined && { estimatedUsd: usd }),
        ...(expectedTtftMs !== undefined && { expectedTtftMs: Math.round(expectedTtftMs) }),
        local,
        takesOver: prefill,
        ...live(leaf.target.name),
      };
    }),
    excluded: plan.excluded.map(({ target, reason, retryAtMs }) => ({
      target,
      reason,
      ...(states && retryAtMs !== undefined && { retryInMs: Math.max(0, Math.round(retryAtMs - now)) }),
      ...live(target),
    })),
    /** It would be refused now, and may come back after so long. */
    ...(plan.shedMs !== undefined && { shed: { retryAfterMs: Math.round(plan.shedMs) } }),
    timeouts: rules.timeouts,
    retry: rules.retry,
    takeover: rules.takeover,
    ...(states && { fallbackBudget: floor(states.fallbacks(model).balance) }),
    ...(rules.hedge && { hedge: rules.hedge }),
    ...(rules.objective && { objective: rules.objective }),
    ...(shadow && { shadow }),
    ...(classifier && { classifier }),
  };
}

export type Described = ReturnType<typeof describeExplanation>;

/** The same as it goes over the wire. */
export const explanationJson = (described: Described): JsonObject =>
  JSON.parse(JSON.stringify(described)) as JsonObject; // plain data

function liveOf(states: TargetStates, name: string, now: number): LiveTarget {
  const { breaker, healthy, inFlight, inFlightTokens, latency, coolUntilMs, retries } = states.of(name);
  return {
    circuit: breaker.state(now),
    healthy,
    inFlight,
    inFlightTokens,
    latencyMs: Math.round(latency.estimate(now)),
    coolForMs: Math.max(0, Math.round(coolUntilMs - now)),
    retries: floor(retries.balance),
  };
}

const floor = (value: number) => Math.floor(value + 1e-9);

function costOf({ leaf }: Planned, { promptTokens, outputTokens }: Explanation['facts']): number | undefined {
  const price = leaf.price?.();
  return price && Number(((promptTokens * price.input + outputTokens * price.output) / 1e6).toPrecision(3));
}
