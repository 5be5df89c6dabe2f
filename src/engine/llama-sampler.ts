import type { Bindings, GrammarState, NativeModel } from './binding.ts';
import type { SamplingOptions } from './protocol.ts';

/** How a sequence's tokens are chosen natively. */
export type SamplerConfig = SamplingOptions & {
  /** Tokens that repetition penalties start with. */
  readonly history?: Uint32Array;
  readonly grammar?: GrammarState;
  readonly bans?: readonly number[];
};
export interface LlamaSampler {
  configure(options: SamplerConfig): void;
  dispose(): void;
  readonly native: unknown;
}

export function createLlamaSampler(bindings: Bindings, model: NativeModel, options: SamplerConfig): LlamaSampler {
  const sampler = new bindings.AddonSampler(model);
  sampler.applyConfig(nativeSampling(options));
  return {
    native: sampler,
    configure: (next) => sampler.applyConfig(nativeSampling(next)),
    dispose: () => sampler.dispose(),
  };
}

/** Our sampling options as the binding's. Absent means off; the defaults of a request are decided before. */
function nativeSampling(options: SamplerConfig): Record<string, unknown> {
  const config: Record<string, unknown> = { temperature: options.temperature ?? 0 };
  const set = (name: string, value: unknown) => {
    if (value !== undefined) config[name] = value;
  };
  set('topK', options.topK);
  set('topP', options.topP);
  set('minP', options.minP);
  set('seed', options.seed === undefined ? undefined : options.seed >>> 0);
  if (options.xtcProbability) {
    set('xtcProbability', options.xtcProbability);
    set('xtcThreshold', options.xtcThreshold ?? 0.1);
  }
  const penalised =
    (options.repeatPenalty ?? 1) !== 1 || (options.frequencyPenalty ?? 0) !== 0 || (options.presencePenalty ?? 0) !== 0;
  if (penalised) {
    set('repeatPenaltyTokens', options.history ?? new Uint32Array(0));
    set('repeatPenalty', options.repeatPenalty);
    set('repeatPenaltyMaxTokens', options.repeatLastN ?? 64);
    set('repeatPenaltyFrequencyPenalty', options.frequencyPenalty);
    set('repeatPenaltyPresencePenalty', options.presencePenalty);
  }
  if (options.dryMultiplier) {
    set('dryRepeatPenaltyStrength', options.dryMultiplier);
    set('dryRepeatPenaltyBase', options.dryBase);
    set('dryRepeatPenaltyAllowedLength', options.dryAllowedLength);
    set('dryRepeatPenaltyLastTokens', options.dryPenaltyLastN);
    set('dryRepeatPenaltySequenceBreakers', options.drySequenceBreakers ?? ['\n', ':', '"', '*']);
  }
  const bias = new Map<number, number>();
  for (const [token, value] of Object.entries(options.logitBias ?? {})) {
    bias.set(Number(token), value <= -100 ? Number.NEGATIVE_INFINITY : value);
  }
  for (const token of options.bans ?? []) bias.set(token, Number.NEGATIVE_INFINITY);
  if (bias.size > 0) {
    config['tokenBiasKeys'] = Uint32Array.from(bias.keys());
    config['tokenBiasValues'] = Float32Array.from(bias.values());
  }
  set('grammarEvaluationState', options.grammar);
  return config;
}
