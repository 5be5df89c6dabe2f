import type { ContextFile } from '../core/request.ts';
import type { LlamaModel } from './llama.ts';
import type { EnginePrompt } from './protocol.ts';
import { createRenderer, type PromptPiece } from './template.ts';
import type { FillInMiddle } from './vocabulary.ts';

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
  /** Its token ids; a gap in a repository is given at most `room` of them. Throws PromptError. */
  read(prompt: EnginePrompt, room?: number): number[];
}

interface FilesAround {
  readonly files: readonly ContextFile[];
  /** Most tokens of the whole prompt. */
  readonly room: number;
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

  const plain = (text: string): number[] => (text === '' ? [] : [...model.tokenize(text, false)]);

  /** As llama-server builds it: the repository's pieces, then what is before the gap, what is behind it, and the gap. */
  const fill = (before: readonly number[], suffix: string, pieces?: FilesAround): number[] => {
    const { fillInMiddle } = model;
    if (!fillInMiddle) {
      throw new PromptError('This model cannot fill a gap: its vocabulary has no fill-in-the-middle tokens.', 'suffix');
    }
    let behind = plain(suffix);
    let around: number[] = [];
    if (pieces) {
      // The gap's neighbourhood comes first, three quarters of it what is before; then the pieces, the last ones first.
      const room = Math.max(8, pieces.room - bos.length - 3);
      const behindRoom = Math.max(room >> 2, room - before.length);
      behind = behind.slice(0, behindRoom);
      before = before.slice(-Math.max(1, room - behind.length));
      const left = room - behind.length - before.length;
      around = left > 0 ? filesAround(pieces.files, fillInMiddle).slice(-left) : [];
    }
    return [...bos, ...around, fillInMiddle.prefix, ...before, fillInMiddle.suffix, ...behind, fillInMiddle.middle];
  };

  const filesAround = (files: readonly ContextFile[], { repository, file }: FillInMiddle): number[] => {
    const tokens = repository === undefined ? [] : [repository, ...plain('myproject\n')];
    for (const { filename, text } of files) {
      if (file === undefined) tokens.push(...plain('\n\n--- snippet ---\n\n'));
      else tokens.push(file, ...plain(`${filename}\n`));
      for (const token of plain(text)) tokens.push(token);
    }
    if (file !== undefined) tokens.push(file, ...plain('filename\n'));
    return tokens;
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
    read(prompt, room = model.info.contextTokens - 1) {
      switch (prompt.kind) {
        case 'chat':
          return readPieces(render(prompt));
        case 'text':
          if (prompt.suffix !== undefined) {
            return fill(plain(prompt.text), prompt.suffix, prompt.files && { files: prompt.files, room });
          }
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
