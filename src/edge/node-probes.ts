import { systemClock } from '../core/clock.ts';
import { withDeadline } from '../core/signals.ts';
import type { Transport } from '../core/transport.ts';
import type { TargetStates } from '../routing/state.ts';
import type { After } from './bindings.ts';

const everyMs = 10_000;
const timeoutMs = 2_000;
const failuresToLeave = 2;

/**
 * Asks the gateways with an engine how they are, behind an answer, at most every ten seconds: an isolate has no timers of
 * its own between requests. One that fails twice, or says it is draining, is left out until it answers again.
 */
export function createNodeProbes(
  nodes: readonly string[],
  transport: Transport,
  states: TargetStates,
  now: () => number = () => systemClock.now(),
) {
  let probedAt = Number.NEGATIVE_INFINITY;
  const failures = nodes.map(() => 0);
  const probe = async (baseUrl: string, index: number): Promise<void> => {
    const url = `${baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '')}/health/ready`;
    const deadline = withDeadline(new AbortController().signal, timeoutMs, 'The health check');
    let well = false;
    try {
      const { status, body } = await transport.send({ method: 'GET', url, headers: {} }, { signal: deadline.signal });
      for await (const _ of body);
      well = status < 500;
    } catch {
      well = false;
    } finally {
      deadline.clear();
    }
    failures[index] = well ? 0 : (failures[index] ?? 0) + 1;
    for (const state of states.all()) {
      if (!state.name.startsWith(`node#${index + 1}/`)) continue;
      if (well) state.healthy = true;
      else if ((failures[index] ?? 0) >= failuresToLeave) state.healthy = false;
    }
  };
  return (after: After): void => {
    if (now() - probedAt < everyMs) return;
    probedAt = now();
    after(Promise.all(nodes.map(probe)));
  };
}
