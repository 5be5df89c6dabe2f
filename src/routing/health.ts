import type { Target } from '../core/route.ts';
import { withDeadline } from '../core/signals.ts';
import type { HealthRule } from './model.ts';
import type { TargetState } from './state.ts';

export interface Checked {
  readonly target: Target;
  readonly state: TargetState;
  readonly rule: HealthRule;
}

export type HealthListener = (target: string, healthy: boolean, detail?: string) => void;

/** Two failures in a row take a target out, one success brings it back: leaving is dearer than staying a moment too long. */
const failuresToLeave = 2;

/**
 * Pings targets in the background until stopped. The first ping comes after a random part of the interval, so that many
 * gateways do not knock together.
 */
export function startHealthChecks(
  checked: readonly Checked[],
  tell: HealthListener,
  random: () => number = Math.random,
): () => void {
  let stopped = false;
  const timers = new Set<ReturnType<typeof setTimeout>>();
  /** Pings under way: each has a signal of its own, since one for all would collect their listeners for ever. */
  const running = new Set<AbortController>();
  const later = (ms: number, run: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      run();
    }, ms);
    timers.add(timer);
  };
  for (const { target, state, rule } of checked) {
    const { ping } = target.provider;
    if (!ping) continue;
    let failures = 0;
    const check = async () => {
      const ended = new AbortController();
      running.add(ended);
      const deadline = withDeadline(ended.signal, rule.timeoutMs, `The health check of ${target.name}`);
      try {
        await ping({ signal: deadline.signal });
        failures = 0;
        if (!state.healthy) {
          state.healthy = true;
          tell(target.name, true);
        }
      } catch (error) {
        if (stopped) return;
        failures += 1;
        if (failures >= failuresToLeave && state.healthy) {
          state.healthy = false;
          tell(target.name, false, error instanceof Error ? error.message : String(error));
        }
      } finally {
        deadline.clear();
        running.delete(ended);
      }
      if (!stopped) later(rule.intervalMs, () => void check());
    };
    later(random() * rule.intervalMs, () => void check());
  }
  return () => {
    stopped = true;
    for (const ping of running) ping.abort();
    for (const timer of timers) clearTimeout(timer);
  };
}
