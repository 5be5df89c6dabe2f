import { type Strategy, sortedBy } from './strategy.ts';

/** The least work under way, in tokens, by weight; a long prompt counts for what it is. Ties are drawn. */
export const leastBusy: Strategy = {
  name: 'least-busy',
  rank: (children, { random }) =>
    sortedBy(
      children,
      ({ inFlightTokens, inFlight, weight }) => (inFlightTokens + inFlight + random() * 0.5) / Math.max(weight, 1e-9),
    ),
};
