import { type Child, type Strategy, sortedBy } from './strategy.ts';

/**
 * Power of two choices over peak EWMA: of two drawn at random, the one whose remembered time to first token × calls
 * under way is less. Two and not all, so that the many that decide at once do not all pick the same one. An unmeasured
 * target costs nothing and so is tried.
 */
export const leastLatency: Strategy = {
  name: 'least-latency',
  rank(children, { random }) {
    const rest = [...sortedBy(children, cost)];
    if (rest.length <= 2) return rest;
    const one = Math.floor(random() * rest.length);
    const other = (one + 1 + Math.floor(random() * (rest.length - 1))) % rest.length;
    const [best] = rest.splice(Math.min(one, other), 1); // sorted, so the lower index is the cheaper
    return best ? [best, ...rest] : rest;
  },
};

const cost = ({ latencyMs, inFlight, weight }: Child) => (latencyMs * (inFlight + 1)) / Math.max(weight, 1e-9);
