import * as z from 'zod';
import { once } from '../../core/once.ts';
import type { WireFormat } from '../format.ts';
import { parseBody } from '../validate.ts';
import { llamaAnswers } from './encode.ts';
import { llamaFields, llamaRequest } from './request.ts';

/** llama-server's `POST /infill`, which editors speak (llama.vim, llama.vscode). */
export const infillSchema = once(() =>
  z.looseObject({
    ...llamaFields(),
    input_prefix: z.string().nullish(),
    input_suffix: z.string().nullish(),
    input_extra: z
      .array(z.looseObject({ text: z.string(), filename: z.string().nullish() }))
      .max(1024)
      .nullish(),
    /** Text that stands right before the gap already. */
    prompt: z.string().nullish(),
  }),
);

export const llamaInfill: WireFormat = {
  ...llamaAnswers,
  decode(body, source) {
    const parsed = parseBody(infillSchema(), body);
    const prompt = {
      text: (parsed.input_prefix ?? '') + (parsed.prompt ?? ''),
      suffix: parsed.input_suffix ?? '',
      files: (parsed.input_extra ?? []).map(({ text, filename }) => ({ text, filename: filename ?? 'tmp' })),
      echo: false,
    };
    return llamaRequest(parsed, body, source, prompt, ['input_prefix', 'input_suffix', 'input_extra']);
  },
};
