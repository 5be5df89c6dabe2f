import * as z from 'zod';
import { once } from '../../core/once.ts';
import type { WireFormat } from '../format.ts';
import { parseBody } from '../validate.ts';
import { llamaAnswers } from './encode.ts';
import { llamaFields, llamaRequest } from './request.ts';

/** llama-server's `POST /completion`, which its own clients speak. */
export const llamaCompletionSchema = once(() =>
  z.looseObject({
    ...llamaFields(),
    prompt: z.union([z.string(), z.array(z.number().int().min(0)).min(1)]),
    /** Empty is none, as its web page sends it. */
    grammar: z.string().nullish(),
  }),
);

export const llamaCompletion: WireFormat = {
  ...llamaAnswers,
  decode(body, source) {
    const parsed = parseBody(llamaCompletionSchema(), body);
    const request = llamaRequest(parsed, body, source, { text: parsed.prompt, echo: false }, ['grammar']);
    return parsed.grammar ? { ...request, responseFormat: { type: 'grammar', grammar: parsed.grammar } } : request;
  },
};
