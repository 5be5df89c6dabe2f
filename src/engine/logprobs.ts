import type { TokenLogprob } from '../core/event.ts';
import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { LlamaSampler } from './llama-sampler.ts';

/** Candidates fetched per position: the chosen token is nearly always among them, and the whole vocabulary costs ten times as much. */
const candidates = 1024;

export interface LogprobReader {
  /** Log-probability of `token` and of the `top` likeliest at `place`, in the model's own distribution, before any sampler. */
  read(place: number, token: number, top: number): Promise<TokenLogprob>;
  /** For a token whose log-probability the model can't tell: the first of all. JSON makes null of it. */
  unknown(token: number): TokenLogprob;
  dispose(): void;
}

/**
 * Reads log-probabilities through the binding, which gives probabilities only relative to what a sampler leaves: the
 * likeliest token's share of the whole vocabulary, and the ratios among the best, give all of them exactly.
 */
export function createLogprobReader(model: LlamaModel, context: LlamaContext): LogprobReader {
  const greedy = model.createSampler({ temperature: 0 });
  const some = model.createSampler({ temperature: 1, topK: candidates, seed: 0 });
  const all = model.createSampler({ temperature: 1, seed: 0 });
  const samplers: LlamaSampler[] = [greedy, some, all];
  /** A sampler works in one buffer of its own: two reads must not overlap. */
  let last: Promise<unknown> = Promise.resolve();

  async function read(place: number, token: number, top: number): Promise<TokenLogprob> {
    const [, best] = await context.confidence(place, greedy);
    let list = await context.probabilities(place, some);
    if (!list.some(([id]) => id === token)) list = await context.probabilities(place, all);
    const first = list[0]?.[1] ?? 1;
    const logprob = (probability: number) => Math.max(-9999, Math.log(best) + Math.log(probability / first));
    return {
      ...describe(model, token),
      logprob: logprob(list.find(([id]) => id === token)?.[1] ?? 0),
      top: list.slice(0, top).map(([id, probability]) => ({ ...describe(model, id), logprob: logprob(probability) })),
      id: token,
    };
  }

  return {
    read(place, token, top) {
      const result = last.then(() => read(place, token, top));
      last = result.catch(() => {});
      return result;
    },
    unknown: (token) => ({ ...describe(model, token), logprob: Number.NaN, top: [], id: token }),
    dispose() {
      for (const sampler of samplers) sampler.dispose();
    },
  };
}

function describe(model: LlamaModel, token: number): { token: string; bytes: number[] } {
  const bytes = model.tokenBytes(token, true);
  return { token: new TextDecoder().decode(bytes), bytes: [...bytes] };
}
