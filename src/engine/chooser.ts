import type { GrammarState } from './binding.ts';
import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { SamplerConfig } from './llama-sampler.ts';
import type { GenerateRequest, GrammarOptions } from './protocol.ts';
import { createOwnSampler, needsOwnSampler, withDefaults } from './sampling.ts';

/** Chooses a sequence's tokens, one after the other, as its request's sampling and grammar say. */
export interface Chooser {
  /**
   * The token at `place` of the last step; -1 where nothing is allowed. It counts as generated. Where native calls run in
   * order it may be asked as soon as the step is under way.
   */
  choose(place: number): Promise<number>;
  /** Text that came since a grammar's trigger: from now on the grammar holds. False where the text breaks it. */
  startGrammar(textAfterTrigger: string): boolean;
  /** Tokens that were banned until now (the end before `minTokens`) are allowed. */
  allowEnd(): void;
  dispose(): void;
}

export function createChooser(
  model: LlamaModel,
  context: LlamaContext,
  request: GenerateRequest,
  choice: number,
  prompt: readonly number[],
): Chooser {
  const { sampling } = request;
  const seed = ((sampling.seed ?? Math.floor(Math.random() * 2 ** 32)) + choice) >>> 0;
  const own = needsOwnSampler(sampling) ? createOwnSampler(sampling, seed) : undefined;
  const generated: number[] = [];
  let endBanned = sampling.ignoreEos === true || (request.minTokens ?? 0) > 0;
  let grammar: GrammarState | undefined =
    request.grammar && !request.grammar.triggers ? startGrammarState(model, request.grammar) : undefined;

  const repeat = (sampling.repeatPenalty ?? 1) !== 1;
  const window =
    sampling.repeatLastN === undefined ? 64 : sampling.repeatLastN < 0 ? context.contextTokens : sampling.repeatLastN;
  const config = (state: GrammarState | undefined): SamplerConfig => ({
    ...(own ? { ...sampling, temperature: 1, topK: 0, topP: 1, minP: 0, seed } : withDefaults(sampling, seed)),
    // OpenAI's penalties count the answer only, llama.cpp's repeat penalty the end of the prompt too.
    history: Uint32Array.from(repeat ? [...prompt, ...generated].slice(-window) : generated),
    repeatLastN: repeat ? window : context.contextTokens,
    ...(endBanned ? { bans: model.endTokens } : {}),
    ...(state ? { grammar: state } : {}),
  });
  const sampler = model.createSampler(config(own && grammar ? model.cloneGrammarState(grammar) : grammar));

  let asked = 0;
  let disposed = false;
  /** Native code may still be at work with the sampler of a request that was cancelled. */
  const release = () => {
    if (disposed && asked === 0) sampler.dispose();
  };

  async function next(place: number): Promise<number> {
    if (!own) return context.sample(place, sampler);
    // The binding accepts the token that its own chain picked: a copy of the grammar takes that.
    sampler.configure(config(grammar ? model.cloneGrammarState(grammar) : undefined));
    const token = own.choose(await context.probabilities(place, sampler));
    if (grammar && token >= 0 && !model.isEndOfGeneration(token)) model.acceptGrammarToken(grammar, token);
    return token;
  }

  return {
    async choose(place) {
      asked++;
      try {
        const token = await next(place);
        generated.push(token);
        return token;
      } finally {
        asked--;
        release();
      }
    },
    startGrammar(textAfterTrigger) {
      if (!request.grammar || grammar) return true;
      try {
        grammar = startGrammarState(model, { gbnf: request.grammar.gbnf, consumed: textAfterTrigger });
      } catch {
        return false;
      }
      sampler.configure(config(own ? model.cloneGrammarState(grammar) : grammar));
      return true;
    },
    allowEnd() {
      if (!endBanned || sampling.ignoreEos) return;
      endBanned = false;
      sampler.configure(config(own && grammar ? model.cloneGrammarState(grammar) : grammar));
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      release();
    },
  };
}

/** A grammar's state behind the text that it has consumed already. Throws where that text is not of its language. */
export function startGrammarState(model: LlamaModel, { gbnf, consumed = '' }: GrammarOptions): GrammarState {
  const state = model.createGrammarState(gbnf);
  if (consumed !== '') for (const token of model.tokenize(consumed, false)) model.acceptGrammarToken(state, token);
  return state;
}
