import type { LlamaModel } from './llama.ts';
import type { EnginePrompt } from './protocol.ts';
import { createRenderer, type PromptPiece } from './template.ts';

export class PromptError extends Error {
  readonly param: string;
  constructor(message: string, param: string) {
    super(message);
    this.param = param;
  }
}

/** llama.cpp aborts the process on an id outside the vocabulary: every list of ids from outside passes here first. */
export function checkTokens(tokens: readonly number[], vocabularySize: number, param: string): void {
  const wrong = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= vocabularySize);
  if (wrong < 0) return;
  throw new PromptError(`Token ids are whole numbers from 0 to ${vocabularySize - 1}.`, `${param}[${wrong}]`);
}

export interface PromptReader {
  /** The text that the model reads. */
  render(prompt: EnginePrompt): string;
  /** Its token ids. Throws PromptError. */
  read(prompt: EnginePrompt): number[];
}

/** From a prompt in any form to the model's token ids. */
export function createPromptReader(model: LlamaModel): PromptReader {
  const render = createRenderer({ ...model.info, controlTexts: model.controlTexts });
  const bos = model.addsBos && model.bosToken !== undefined ? [model.bosToken] : [];

  const readPieces = (pieces: readonly PromptPiece[]): number[] => {
    const tokens: number[] = [];
    for (const { text, trusted } of pieces) for (const token of model.tokenize(text, trusted)) tokens.push(token);
    if (bos[0] !== undefined && tokens[0] !== bos[0]) tokens.unshift(...bos);
    return tokens;
  };

  const fill = (before: readonly number[], suffix: string): number[] => {
    const { fillInMiddle } = model;
    if (!fillInMiddle) {
      throw new PromptError('This model cannot fill a gap: its vocabulary has no fill-in-the-middle tokens.', 'suffix');
    }
    return [
      ...bos,
      fillInMiddle.prefix,
      ...before,
      fillInMiddle.suffix,
      ...model.tokenize(suffix, false),
      fillInMiddle.middle,
    ];
  };

  return {
    render(prompt) {
      if (prompt.kind === 'chat')
        return render(prompt)
          .map(({ text }) => text)
          .join('');
      if (prompt.kind === 'text') return prompt.text;
      return model.detokenize(Uint32Array.from(prompt.tokens), true);
    },
    read(prompt) {
      switch (prompt.kind) {
        case 'chat':
          return readPieces(render(prompt));
        case 'text':
          if (prompt.suffix !== undefined) return fill([...model.tokenize(prompt.text, false)], prompt.suffix);
          return readPieces([{ text: prompt.text, trusted: true }]);
        case 'tokens': {
          checkTokens(prompt.tokens, model.info.vocabularySize, 'prompt');
          if (prompt.suffix !== undefined) return fill(prompt.tokens, prompt.suffix);
          return [...prompt.tokens];
        }
        default:
          return prompt satisfies never;
      }
    },
  };
}
