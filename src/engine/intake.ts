import { LRUCache } from 'lru-cache';
import { startGrammarState } from './chooser.ts';
import type { LlamaModel } from './llama.ts';
import type { LoadOptions } from './load-options.ts';
import { GrammarSyntaxError, readGrammar } from './output/gbnf-reader.ts';
import { grammarProblem } from './output/grammar-cost.ts';
import type { EngineError, GenerateRequest } from './protocol.ts';
import { PromptError, type PromptReader } from './tokenize.ts';

/** The prompt's tokens, or why the request can't be served by this model. */
export function readRequest(
  request: GenerateRequest,
  { model, prompts, options, contextTokens }: Intake,
): readonly number[] | EngineError {
  const param = request.prompt.kind === 'chat' ? 'messages' : 'prompt';
  let prompt: readonly number[];
  try {
    // Half of the context is for the prompt at least, whatever the answer may take.
    const answer = Math.min(request.maxTokens ?? 0, contextTokens >> 1);
    prompt = prompts.read(request.prompt, contextTokens - Math.max(1, answer));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'invalid_request', message, param: error instanceof PromptError ? error.param : param };
  }
  if (prompt.length === 0) return { kind: 'invalid_request', message: 'The prompt is empty.', param };
  if (request.overflow === 'shift' && prompt.length >= contextTokens) {
    // Its beginning (who the model is) and its end stay, as when the context fills up while writing.
    prompt = [...prompt.slice(0, keptTokens), ...prompt.slice(keptTokens - Math.floor(contextTokens / 2))];
  }
  if (prompt.length >= contextTokens) {
    return {
      kind: 'context_length_exceeded',
      message: `This model's maximum context length is ${contextTokens} tokens. However, your messages resulted in ${prompt.length} tokens. Please reduce the length of the messages.`,
      param,
    };
  }
  const unknown = request.loras?.find(({ name }) => !options.loras?.some((known) => known.name === name));
  if (unknown) {
    return { kind: 'invalid_request', message: `There is no LoRA adapter "${unknown.name}".`, param: 'lora' };
  }
  if (request.grammar) {
    const problem = checkGrammar(request.grammar.gbnf, model);
    const { param: field = 'grammar' } = request.grammar;
    if (problem !== undefined) return { kind: 'invalid_request', message: problem, param: field };
  }
  const size = model.info.vocabularySize;
  const unknownToken = Object.keys(request.sampling.logitBias ?? {}).find((token) => Number(token) >= size);
  if (unknownToken !== undefined) {
    const message = `There is no token ${unknownToken}: this model has ${size}.`;
    return { kind: 'invalid_request', message, param: `logit_bias.${unknownToken}` };
  }
  try {
    if (request.grammar?.consumed) startGrammarState(model, request.grammar);
  } catch {
    return { kind: 'unsupported', message: 'The beginning of the answer does not fit its format.', param };
  }
  return prompt;
}

/** First tokens of a prompt that outlive a shift of the context. */
export const keptTokens = 32;

const judged = new LRUCache<string, { readonly problem: string | undefined }>({ max: 64 });

/** Reads the grammar before native code does: what is wrong with it, in words. */
function checkGrammar(gbnf: string, model: LlamaModel): string | undefined {
  let known = judged.get(gbnf);
  if (!known) {
    try {
      known = { problem: grammarProblem(readGrammar(gbnf)) };
      if (known.problem === undefined) model.createGrammarState(gbnf);
    } catch (error) {
      const reason = error instanceof GrammarSyntaxError ? `: ${error.message}` : '';
      known = { problem: `it does not parse as GBNF${reason}` };
    }
    judged.set(gbnf, known);
  }
  return known.problem === undefined ? undefined : `The grammar can’t be used: ${known.problem}.`;
}

export interface Intake {
  readonly model: LlamaModel;
  readonly prompts: PromptReader;
  readonly options: LoadOptions;
  readonly contextTokens: number;
}
