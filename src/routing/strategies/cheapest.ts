import { leastBusy } from './least-busy.ts';
import { costOf, type Strategy, sortedBy } from './strategy.ts';

/**
 * The cheapest whose expected time to first token meets the objective; those that don't follow, quickest first. So the
 * own engine serves while it keeps up, an upstream when it does not, and traffic comes back by itself.
 */
export const cheapest: Strategy = {
  name: 'cheapest',
  rank(children, situation) {
    const limit = situation.objectiveMs ?? Infinity;
    const meets = children.filter(({ expectedTtftMs }) => expectedTtftMs <= limit);
    const late = children.filter(({ expectedTtftMs }) => expectedTtftMs > limit);
    return [
      // Equal prices share by load: the quickest alone would draw everybody at once.
      ...sortedBy(leastBusy.rank(meets, situation), (child) => costOf(child, situation) / Math.max(child.weight, 1e-9)),
      ...sortedBy(late, ({ expectedTtftMs, inFlight }) => expectedTtftMs * (inFlight + 1)),
    ];
  },
};
