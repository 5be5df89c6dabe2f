import type { Trial } from '../versions.ts';
import type { Strategy } from './strategy.ts';

/** Two children, the stable version and the candidate; the other one is the fallback, but a withdrawn candidate is none. */
export function trialStrategy(trial: Trial): Strategy {
  return {
    name: `trial ${trial.name}`,
    rank(children, { facts, random }) {
      const [stable, candidate] = children;
      if (!stable || !candidate) return children;
      if (trial.choose(facts, random) === 'candidate') return [candidate, stable];
      return trial.state() === 'rolled-back' ? [stable] : [stable, candidate];
    },
  };
}
