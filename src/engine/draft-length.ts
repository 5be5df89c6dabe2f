/** How many tokens are worth guessing for one sequence, learnt from how its guesses did. */
export interface DraftLength {
  /** The most to guess for the next step; 0 while it rests. Call once a step. */
  next(): number;
  learn(drafted: number, accepted: number): void;
}

/**
 * A pass over four or eight tokens (the last one and three or seven guesses) costs llama.cpp on a CPU hardly more than
 * one over three or seven; for the default model 2.6 and 4.5 times a single token. So guesses come in those lengths:
 * the long one after one that was right to its end, the short one else, and none for a while after a miss.
 */
const short = 3;
const long = 7;
const mostRest = 16;

export function createDraftLength(): DraftLength {
  let length = short;
  let rest = 0;
  let nextRest = 1;
  return {
    next() {
      if (rest === 0) return length;
      rest--;
      return 0;
    },
    learn(drafted, accepted) {
      if (drafted === 0) return;
      length = accepted === drafted ? long : short;
      if (accepted * 2 >= drafted) nextRest = 1;
      else {
        rest = nextRest;
        nextRest = Math.min(mostRest, nextRest * 2);
      }
    },
  };
}
