import * as z from 'zod';
import { objectsOf } from '../../core/json.ts';
import { once } from '../../core/once.ts';
import { type ModerationRequest, type ModerationResult, moderationCategories } from '../../core/provider.ts';
import { parseBody } from '../validate.ts';

export const moderationRequestSchema = once(() =>
  z.looseObject({
    model: z.string().nullish(),
    input: z.union([
      z.string(),
      z.array(z.string()).min(1).max(1024),
      z
        .array(z.looseObject({ type: z.string(), text: z.string().nullish() }))
        .min(1)
        .max(1024),
    ]),
  }),
);

/** Many texts are many inputs; many parts are one. */
export function decodeModerationRequest(body: unknown): ModerationRequest {
  const { model, input } = parseBody(moderationRequestSchema(), body);
  const parts = objectsOf(input); // of texts none
  const inputs =
    typeof input === 'string'
      ? [input]
      : typeof input[0] === 'string'
        ? (input as string[]) // no mixed arrays pass the schema
        : [(input as { text?: string | null }[]).map((part) => part.text ?? '').join('\n')];
  const pictured = parts.some(({ type }) => type !== 'text');
  return { inputs, ...(pictured && { parts }), ...(model == null ? {} : { model }) };
}

/** All thirteen categories are always there: typed clients read them by name. */
export function encodeModeration(result: ModerationResult, id: string) {
  return {
    id: `modr-${id}`,
    model: result.model,
    results: result.results.map((one) => ({
      flagged: one.flagged,
      categories: { ...Object.fromEntries(moderationCategories.map((name) => [name, false])), ...one.categories },
      category_scores: { ...Object.fromEntries(moderationCategories.map((name) => [name, 0])), ...one.scores },
      category_applied_input_types: {
        ...Object.fromEntries(moderationCategories.map((name) => [name, ['text']])),
        ...one.inputTypes,
      },
    })),
  };
}
