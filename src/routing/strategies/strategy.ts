import type { Facts } from '../facts.ts';

/** US dollars per million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
}

/** What a strategy sees of a target, or of a whole group below it. */
export interface Child {
  /** Stable over requests and processes: what hashing and stickiness go by. */
  readonly key: string;
  readonly weight: number;
  readonly inFlight: number;
  /** Tokens being read or still to be written: work, where requests differ a thousandfold. */
  readonly inFlightTokens: number;
  /** Remembered time to first token; 0 when unknown. */
  readonly latencyMs: number;
  /** What this request would wait: predicted where the target owns its queue, else remembered. 0 when unknown. */
  readonly expectedTtftMs: number;
  /** Round trip to it; absent where nobody measures it. */
  readonly distanceMs?: number;
  readonly price?: Price;
}

export interface Situation {
  readonly facts: Pick<Facts, 'prefix' | 'promptTokens' | 'outputTokens' | 'sticky'>;
  readonly random: () => number;
  readonly objectiveMs?: number | undefined;
}

/**
 * Orders a group's children, best first; all of them, because the rest is the order of fallback. Pure: the same
 * children, situation and random numbers give the same order, so a simulation and a plan run the very code that serves.
 */
export interface Strategy {
  readonly name: string;
  rank<C extends Child>(children: readonly C[], situation: Situation): readonly C[];
}

/** The children in the order of `score`, lowest first; equal ones stay as they are. */
export function sortedBy<C>(children: readonly C[], score: (child: C) => number): readonly C[] {
  return children
    .map((child) => ({ child, score: score(child) }))
    .sort((a, b) => a.score - b.score)
    .map(({ child }) => child);
}

/** Dollars for this request; what nobody knows the price of is dearest. */
export function costOf({ price }: Child, { facts }: Situation): number {
  return price ? (facts.promptTokens * price.input + facts.outputTokens * price.output) / 1e6 : Number.MAX_VALUE;
}
