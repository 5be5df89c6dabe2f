import type { Strategy } from './strategy.ts';

/** As written: the first is the choice, the others its fallbacks. With `when` on the children it is conditional routing. */
export const ordered: Strategy = { name: 'ordered', rank: (children) => children };

/** Each in turn; the others follow in order. */
export function roundRobin(): Strategy {
  let turn = 0;
  return {
    name: 'round-robin',
    rank(children) {
      const first = turn++ % Math.max(1, children.length);
      return [...children.slice(first), ...children.slice(0, first)];
    },
  };
}

export const shuffled: Strategy = {
  name: 'random',
  rank(children, { random }) {
    const order = [...children];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j] as (typeof order)[number], order[i] as (typeof order)[number]]; // both in range
    }
    return order;
  },
};
