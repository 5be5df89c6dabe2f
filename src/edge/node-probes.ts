import { systemClock } from '../core/clock.ts';
import { withDeadline } from '../core/signals.ts';
import type { Transport } from '../core/transport.ts';
import type { TargetStates } from '../routing/state.ts';
import type { After } from './bindings.ts';

const everyMs = 10_000;
const timeoutMs = 2_000;
const failuresToLeave = 2;
/** How much of the distance one probe decides. */
const smoothing = 0.3;

/**
 * Asks the gateways with an engine how they are, behind an answer, at most every ten seconds: an isolate has no timers of
 * its own between requests. One that fails twice, or says it is draining, is left out until it answers again; the nearest
 * one is preferred, by the round trip of these questions.
 */
export function createNodeProbes(
  nodes: readonly string[],
  transport: Transport,
  states: TargetStates,
  now: () => number = () => systemClock.now(),
) {
  let probedAt = Number.NEGATIVE_INFINITY;
  const known = nodes.map(() => ({ failures: 0, distanceMs: undefined as number | undefined }));
  const probe = async (baseUrl: string, index: number): Promise<void> => {
    const node = known[index];
    if (!node) return;
    const url = `${baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '')}/health/ready`;
    const deadline = withDeadline(new AbortController().signal, timeoutMs, 'The health check');
    const sentAt = now();
    try {
      const { status, body } = await transport.send({ method: 'GET', url, headers: {} }, { signal: deadline.signal });
      for await (const _ of body);
      if (status >= 500) throw new Error(`The gateway answered ${status}.`);
      const tookMs = now() - sentAt;
      node.failures = 0;
      node.distanceMs =
        node.distanceMs === undefined ? tookMs : node.distanceMs + (tookMs - node.distanceMs) * smoothing;
    } catch {
      node.failures++;
    } finally {
      deadline.clear();
    }
    tell();
  };
  const tell = (): void => {
    for (const state of states.all()) {
      const node = known[Number(/^node#(\d+)\//.exec(state.name)?.[1]) - 1];
      if (!node) continue;
      state.healthy = node.failures < failuresToLeave;
      if (node.distanceMs !== undefined) state.distanceMs = node.distanceMs;
    }
  };
  return (after: After): void => {
    tell(); // targets that routing met since the last probe
    if (now() - probedAt < everyMs) return;
    probedAt = now();
    after(Promise.all(nodes.map(probe)));
  };
}
