import { hash32, unit } from '../hash.ts';
import { type Child, type Strategy, sortedBy } from './strategy.ts';

/**
 * A conversation goes where its KV cache is: weighted rendezvous hashing of the prompt's beginning, so that a replica that
 * comes or goes moves only its own share, and every process agrees without talking. Bounded load (Mirrokni et al. 2016):
 * who has more than `slack` × the mean work under way is passed over for the next in the same order, so that a hot prefix
 * spreads instead of queueing. 2 is what `bench/routing` found best: less loses the cache, more queues.
 */
export function prefixAffinity(slack = 2): Strategy {
  return {
    name: 'prefix-affinity',
    rank(children, { facts }) {
      const beginning = hash32(facts.prefix);
      const preference = sortedBy(
        children,
        ({ key, weight }) => -Math.log(unit(hash32(key, beginning))) / Math.max(weight, 1e-9),
      );
      const mine = facts.promptTokens + facts.outputTokens;
      const total = children.reduce((sum, { inFlightTokens }) => sum + inFlightTokens, mine);
      const weights = children.reduce((sum, { weight }) => sum + weight, 0);
      const room = ({ weight, inFlight, inFlightTokens }: Child) =>
        inFlight === 0 || inFlightTokens + mine <= (slack * total * weight) / Math.max(weights, 1e-9);
      return [...preference.filter(room), ...preference.filter((child) => !room(child))];
    },
  };
}
