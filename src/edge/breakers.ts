import type { TargetStates } from '../routing/state.ts';
import { type After, type ObjectNamespace, tell } from './bindings.ts';
import type { OpenBreaker } from './state-object.ts';

const everyMs = 2000;

/**
 * Keeps isolates informed of each other's open breakers: at most every two seconds, behind an answer, never on its way.
 * A target that another isolate has taken out of service rests here too, until the same moment.
 */
export function shareBreakers(states: TargetStates, namespace: ObjectNamespace, now: () => number) {
  let sharedAt = Number.NEGATIVE_INFINITY;
  return (after: After): void => {
    const at = now();
    if (at - sharedAt < everyMs) return;
    sharedAt = at;
    const wall = Date.now();
    const opened: OpenBreaker[] = [];
    for (const { name, breaker } of states.all()) {
      if (breaker.state(at) === 'open') opened.push({ target: name, untilMs: wall + breaker.retryAtMs() - at });
    }
    after(
      tell<readonly OpenBreaker[]>(namespace, 'breakers', { kind: 'breakers', opened })
        .then((all) => {
          for (const { target, untilMs } of all) {
            const state = states.of(target);
            const restMs = untilMs - Date.now();
            if (restMs > 0 && state.breaker.state(now()) === 'closed') {
              state.coolUntilMs = Math.max(state.coolUntilMs, now() + restMs);
            }
          }
        })
        .catch(() => {}), // each isolate still has its own breakers
    );
  };
}
