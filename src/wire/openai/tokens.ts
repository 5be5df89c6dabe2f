import * as z from 'zod';
import { once } from '../../core/once.ts';
import type { TokenizeRequest } from '../../core/provider.ts';
import { parseBody } from '../validate.ts';

/** llama-server's `content`/`add_special` and vLLM's `prompt`/`add_special_tokens` alike. */
export const tokenizeSchema = once(() =>
  z.looseObject({
    model: z.string().nullish(),
    content: z.string().nullish(),
    prompt: z.string().nullish(),
    add_special: z.boolean().nullish(),
    add_special_tokens: z.boolean().nullish(),
    parse_special: z.boolean().nullish(),
  }),
);

export const detokenizeSchema = once(() =>
  z.looseObject({
    model: z.string().nullish(),
    tokens: z.array(z.number().int().min(0)).max(1_000_000),
  }),
);

/** Without a model name the request means `fallbackModel`, the only or first one. */
export function decodeTokenize(body: unknown, fallbackModel: string): TokenizeRequest {
  const parsed = parseBody(tokenizeSchema(), body);
  const text = parsed.content ?? parsed.prompt;
  const addSpecial = parsed.add_special ?? parsed.add_special_tokens;
  return {
    model: parsed.model ?? fallbackModel,
    text: text ?? parseBody(z.object({ content: z.string() }), body).content, // throws, naming `content`
    ...(addSpecial == null ? {} : { addSpecial }),
    ...(parsed.parse_special == null ? {} : { parseSpecial: parsed.parse_special }),
  };
}

/** llama-server’s `/detokenize`, with `fallbackModel` where none is named. Throws invalid_request. */
export function decodeDetokenize(body: unknown, fallbackModel: string): { model: string; tokens: readonly number[] } {
  const { model, tokens } = parseBody(detokenizeSchema(), body);
  return { model: model ?? fallbackModel, tokens };
}
