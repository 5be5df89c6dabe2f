/** A small seeded generator (mulberry32), so that every strategy meets the very same requests. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One turn of a conversation. */
export interface Turn {
  readonly atMs: number;
  readonly conversation: number;
  /** Which of a few system prompts it begins with. */
  readonly app: number;
  /** Tokens of the system prompt, which conversations of one app share. */
  readonly sharedTokens: number;
  /** All of the prompt: system prompt, earlier turns and the new message. */
  readonly promptTokens: number;
  readonly answerTokens: number;
}

export interface LoadOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** New conversations per second, on average over bursts and lulls. */
  readonly conversationsPerSecond: number;
}

const exponential = (random: () => number, mean: number) => -Math.log(1 - random()) * mean;
/** Heavy tail: a few prompts are fifty times the usual. */
const pareto = (random: () => number, least: number, alpha: number, most: number) =>
  Math.min(most, least / (1 - random()) ** (1 / alpha));
const logNormal = (random: () => number, median: number, sigma: number) =>
  median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));

/**
 * Conversations in bursts (twice the mean rate for 10 s, then half of it for 20 s), their first messages Pareto-long, five
 * turns on average with pauses of 10 s, twenty apps of which a few are popular.
 */
export function makeLoad({ seed, durationMs, conversationsPerSecond }: LoadOptions): readonly Turn[] {
  const random = seeded(seed);
  const turns: Turn[] = [];
  let conversation = 0;
  for (let startMs = 0; startMs < durationMs; ) {
    const burst = startMs % 30_000 < 10_000 ? 2 : 0.5;
    startMs += exponential(random, 1000 / (conversationsPerSecond * burst));
    const app = Math.floor(20 * random() ** 3);
    const sharedTokens = 400 + 60 * app;
    let history = sharedTokens;
    for (let atMs = startMs; atMs < durationMs; atMs += exponential(random, 10_000)) {
      const message = pareto(random, history === sharedTokens ? 200 : 40, 1.3, 12_000);
      const answerTokens = Math.round(Math.min(1500, logNormal(random, 120, 0.8))) + 1;
      const promptTokens = Math.round(history + message);
      turns.push({ atMs, conversation, app, sharedTokens, promptTokens, answerTokens });
      history = promptTokens + answerTokens;
      if (random() < 0.2 || history > 24_000) break;
    }
    conversation += 1;
  }
  return turns.sort((a, b) => a.atMs - b.atMs);
}
