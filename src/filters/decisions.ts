import type { Decision } from '../core/run.ts';
import type { Direction } from './compile.ts';

/** What filters did for one request, counted by filter, kind and action. Holds no text. */
export interface Tally {
  note(filter: string, action: string, direction: Direction, detail?: string): void;
  decisions(): readonly Decision[];
}

const maxDecisions = 64;

export function createTally(): Tally {
  const counts = new Map<string, { decision: Decision; count: number }>();
  return {
    note(filter, action, direction, detail) {
      const what = detail === undefined ? direction : `${direction}: ${detail}`;
      const key = `${filter} ${action} ${what}`;
      const known = counts.get(key);
      if (known) known.count++;
      else if (counts.size < maxDecisions) {
        counts.set(key, { decision: { stage: 'filters', name: filter, action, detail: what }, count: 1 });
      }
    },
    decisions: () =>
      [...counts.values()].map(({ decision, count }) =>
        count === 1 ? decision : { ...decision, detail: `${decision.detail} ×${count}` },
      ),
  };
}
