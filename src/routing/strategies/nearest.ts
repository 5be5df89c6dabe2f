import { type Child, type Strategy, sortedBy } from './strategy.ts';

/** Within this of the nearest one a target counts as equally near: an order that changes with every probe would leave warm caches. */
const equal = { ms: 5, share: 0.25 };

/** The shortest round trip first, as health probes measured it; equally near ones, and those never measured, as written. */
export const nearest: Strategy = {
  name: 'nearest',
  rank(children) {
    const least = Math.min(...children.map(distance));
    const near = Number.isFinite(least) ? least * (1 + equal.share) + equal.ms : 0;
    return sortedBy(children, (child) => {
      const ms = distance(child);
      return ms <= near ? 0 : Math.min(ms, Number.MAX_VALUE); // infinities have no difference to sort by
    });
  },
};

const distance = ({ distanceMs = Number.POSITIVE_INFINITY }: Child): number => distanceMs;
