import type { StickyBy } from '../facts.ts';
import { cheapest } from './cheapest.ts';
import { leastBusy } from './least-busy.ts';
import { leastLatency } from './least-latency.ts';
import { ordered, roundRobin, shuffled } from './ordered.ts';
import { prefixAffinity } from './prefix-affinity.ts';
import type { Strategy } from './strategy.ts';
import { weighted } from './weighted.ts';

export const strategyNames = [
  'ordered',
  'weighted',
  'random',
  'round-robin',
  'least-latency',
  'least-busy',
  'cheapest',
  'prefix-affinity',
] as const;

export type StrategyName = (typeof strategyNames)[number];

export function createStrategy(name: StrategyName, sticky?: StickyBy): Strategy {
  switch (name) {
    case 'ordered':
      return ordered;
    case 'weighted':
      return weighted(sticky);
    case 'random':
      return shuffled;
    case 'round-robin':
      return roundRobin();
    case 'least-latency':
      return leastLatency;
    case 'least-busy':
      return leastBusy;
    case 'cheapest':
      return cheapest;
    case 'prefix-affinity':
      return prefixAffinity();
    default:
      return name satisfies never;
  }
}
