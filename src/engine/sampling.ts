import type { SamplingOptions } from './protocol.ts';

/** llama.cpp's own defaults: what its users see when they set nothing. */
const defaults = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 } as const;

/** The request's sampling with the defaults filled in; greedy needs none of the others. */
export function withDefaults(options: SamplingOptions, seed: number): SamplingOptions {
  const temperature = options.temperature ?? defaults.temperature;
  if (temperature <= 0 && !options.xtcProbability) {
    const { topK: _, topP: __, minP: ___, ...rest } = options;
    return { ...rest, temperature: 0, seed };
  }
  return {
    ...options,
    temperature,
    topK: options.topK ?? defaults.topK,
    topP: options.topP ?? defaults.topP,
    minP: options.minP ?? defaults.minP,
    seed,
  };
}

/** Samplers that the binding lacks: these requests choose in JavaScript, from the whole distribution. */
export function needsOwnSampler(options: SamplingOptions): boolean {
  const { temperature = defaults.temperature, typicalP = 1, topNSigma = -1, dynatempRange = 0, mirostat = 0 } = options;
  return temperature > 0 && ((typicalP > 0 && typicalP < 1) || topNSigma > 0 || dynatempRange > 0 || mirostat > 0);
}

export type Candidate = readonly [token: number, probability: number];

/** What a sequence's own sampler remembers between tokens. */
export interface OwnSampler {
  /** Chooses from all tokens with their probabilities at temperature 1, falling. -1 where none is possible. */
  choose(candidates: readonly Candidate[]): number;
}

/** llama.cpp's chain (top-n-sigma, top-k, typical, top-p, min-p, temperature) and mirostat, as its samplers do them. */
export function createOwnSampler(options: SamplingOptions, seed: number): OwnSampler {
  const random = mulberry32(seed);
  const temperature = options.temperature ?? defaults.temperature;
  const tau = options.mirostatTau ?? 5;
  const eta = options.mirostatEta ?? 0.1;
  let mu = 2 * tau;

  const draw = (list: readonly Candidate[]): number => {
    let rest = random() * list.reduce((sum, [, probability]) => sum + probability, 0);
    for (const [token, probability] of list) {
      rest -= probability;
      if (rest <= 0) return token;
    }
    return list.at(-1)?.[0] ?? -1;
  };

  function mirostat(candidates: readonly Candidate[]): number {
    const heated = softmax(candidates, temperature);
    const kept =
      options.mirostat === 1
        ? heated.slice(0, mirostatK(heated, mu))
        : heated.filter(([, probability], i) => i === 0 || -Math.log2(probability) <= mu);
    const list = softmax(kept, 1);
    const token = draw(list);
    const probability = list.find(([id]) => id === token)?.[1] ?? 1;
    mu -= eta * (-Math.log2(probability) - tau);
    return token;
  }

  return {
    choose(all) {
      let list = all.filter(([, probability]) => probability > 0);
      if (list.length === 0) return -1;
      if (options.mirostat) return mirostat(list);
      if ((options.topNSigma ?? 0) > 0) list = topNSigma(list, options.topNSigma ?? 0);
      const topK = options.topK ?? defaults.topK;
      if (topK > 0) list = list.slice(0, topK);
      if (options.typicalP !== undefined && options.typicalP < 1) list = typical(softmax(list, 1), options.typicalP);
      list = topP(softmax(list, 1), options.topP ?? defaults.topP);
      const least = (list[0]?.[1] ?? 0) * (options.minP ?? defaults.minP);
      list = list.filter(([, probability], i) => i === 0 || probability >= least);
      return draw(softmax(list, dynamicTemperature(softmax(list, 1), temperature, options)));
    },
  };
}

/** Probabilities at another temperature, summing to one. */
function softmax(list: readonly Candidate[], temperature: number): Candidate[] {
  const most = Math.max(...list.map(([, probability]) => probability));
  const weights = list.map(([, probability]) => Math.exp(Math.log(probability / most) / Math.max(1e-4, temperature)));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return list.map(([token], i) => [token, (weights[i] ?? 0) / sum] as const);
}

/** Keeps logits within `n` standard deviations of the best one. */
function topNSigma(list: readonly Candidate[], n: number): Candidate[] {
  const logits = list.map(([, probability]) => Math.log(probability));
  const mean = logits.reduce((sum, logit) => sum + logit, 0) / logits.length;
  const sigma = Math.sqrt(logits.reduce((sum, logit) => sum + (logit - mean) ** 2, 0) / logits.length);
  const least = Math.max(...logits) - n * sigma;
  return list.filter((_, i) => (logits[i] ?? 0) >= least);
}

function topP(list: readonly Candidate[], most: number): Candidate[] {
  let sum = 0;
  const kept: Candidate[] = [];
  for (const item of list) {
    kept.push(item);
    sum += item[1];
    if (sum >= most) break;
  }
  return kept;
}

/** Keeps the tokens whose surprise is nearest to the expected one, up to `mass`. */
function typical(list: readonly Candidate[], mass: number): Candidate[] {
  const entropy = list.reduce((sum, [, probability]) => sum - probability * Math.log(probability), 0);
  const nearest = [...list].sort((a, b) => Math.abs(-Math.log(a[1]) - entropy) - Math.abs(-Math.log(b[1]) - entropy));
  return topP(nearest, mass).sort((a, b) => b[1] - a[1]);
}

/** Hotter where the model is unsure: between temperature ± range, by the normalised entropy. */
function dynamicTemperature(list: readonly Candidate[], temperature: number, options: SamplingOptions): number {
  const range = options.dynatempRange ?? 0;
  if (range <= 0 || list.length < 2) return temperature;
  const entropy = list.reduce((sum, [, probability]) => sum - probability * Math.log(probability), 0);
  const share = (entropy / Math.log(list.length)) ** (options.dynatempExponent ?? 1);
  const least = Math.max(0, temperature - range);
  return least + (temperature + range - least) * share;
}

/** How many tokens mirostat 1 keeps, from the slope of the first hundred. */
function mirostatK(list: readonly Candidate[], mu: number): number {
  let above = 0;
  let below = 0;
  for (let i = 0; i + 1 < Math.min(100, list.length); i++) {
    const step = Math.log((i + 2) / (i + 1));
    above += step * Math.log((list[i]?.[1] ?? 1) / (list[i + 1]?.[1] ?? 1));
    below += step * step;
  }
  const slope = below > 0 ? above / below : 1;
  const epsilon = slope - 1;
  const k = ((epsilon * 2 ** mu) / (1 - list.length ** -epsilon)) ** (1 / slope);
  return Number.isFinite(k) ? Math.max(1, Math.min(list.length, Math.round(k))) : list.length;
}

function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
