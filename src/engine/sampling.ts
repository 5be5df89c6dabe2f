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

/** Samplers that the binding lacks: they choose in JavaScript from the whole distribution. */
export function needsOwnSampler(options: SamplingOptions): boolean {
  return (
    (options.typicalP !== undefined && options.typicalP > 0 && options.typicalP < 1) ||
    (options.topNSigma !== undefined && options.topNSigma > 0) ||
    (options.dynatempRange !== undefined && options.dynatempRange > 0) ||
    (options.mirostat !== undefined && options.mirostat > 0)
  );
}
