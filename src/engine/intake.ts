import { startGrammarState } from './chooser.ts';
import type { LlamaModel } from './llama.ts';
import type { EngineError, GenerateRequest, LoadOptions } from './protocol.ts';
import { PromptError, type PromptReader } from './tokenize.ts';

/** The prompt's tokens, or why the request can't be served by this model. */
export function readRequest(
  request: GenerateRequest,
  { model, prompts, options, contextTokens }: Intake,
): readonly number[] | EngineError {
  const param = request.prompt.kind === 'chat' ? 'messages' : 'prompt';
  let prompt: readonly number[];
  try {
    prompt = prompts.read(request.prompt);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'invalid_request', message, param: error instanceof PromptError ? error.param : param };
  }
  if (prompt.length === 0) return { kind: 'invalid_request', message: 'The prompt is empty.', param };
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
  try {
    if (request.grammar) model.createGrammarState(request.grammar.gbnf);
  } catch {
    return { kind: 'invalid_request', message: 'The grammar does not parse as GBNF.', param: 'grammar' };
  }
  try {
    if (request.grammar?.consumed) startGrammarState(model, request.grammar);
  } catch {
    return { kind: 'unsupported', message: 'The beginning of the answer does not fit its format.', param };
  }
  return prompt;
}

export interface Intake {
  readonly model: LlamaModel;
  readonly prompts: PromptReader;
  readonly options: LoadOptions;
  readonly contextTokens: number;
}
