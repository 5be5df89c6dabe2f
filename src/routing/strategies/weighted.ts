import type { StickyBy } from '../facts.ts';
import { hash32, unit } from '../hash.ts';
import { type Strategy, sortedBy } from './strategy.ts';

/**
 * By weight: each child comes first as often as its weight says, and the rest follows by weight too (exponential keys,
 * Efraimidis and Spirakis 2006). With `sticky` the dice are the caller's hash, so the same caller always falls the same
 * way, and a changed weight moves only as many callers as it must. Weight 0 is only ever a fallback.
 */
export function weighted(sticky?: StickyBy): Strategy {
  return {
    name: sticky ? `weighted by ${sticky}` : 'weighted',
    rank(children, { facts, random }) {
      const who = sticky && facts.sticky(sticky);
      const dice = (key: string) => (who === undefined ? 1 - random() : unit(hash32(`${key}\n${who}`)));
      return sortedBy(children, ({ key, weight }) => (weight > 0 ? -Math.log(dice(key)) / weight : Infinity));
    },
  };
}
