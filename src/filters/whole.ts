import { GatewayError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { slicesOf } from './pace.ts';
import type { RuleSet } from './rules.ts';
import { createScanner, type Ending, type ScanOptions } from './scanner.ts';

/** The rules applied to a text that is there as a whole. */
export function rewriteText(
  rules: RuleSet,
  text: string,
  options: ScanOptions = {},
): { readonly text: string; readonly ended: Ending | undefined } {
  if (text === '') return { text, ended: undefined };
  const scanner = createScanner(rules, options);
  const first = scanner.push(text);
  const rest = scanner.end();
  return { text: first + rest, ended: scanner.ended };
}

/** The same for a text that may be huge: others get their turn meanwhile. */
export async function rewriteLongText(
  rules: RuleSet,
  text: string,
  pace: () => Promise<void> | undefined,
  options: ScanOptions = {},
): Promise<{ readonly text: string; readonly ended: Ending | undefined }> {
  const scanner = createScanner(rules, options);
  let rewritten = '';
  for (const slice of slicesOf(text)) {
    rewritten += scanner.push(slice);
    await pace();
  }
  return { text: rewritten + scanner.end(), ended: scanner.ended };
}

/** The rules applied to every string and name of a JSON value; the same value where nothing changed. */
export function rewriteJson(
  rules: RuleSet,
  value: unknown,
  options: ScanOptions,
  depth = 0,
): { readonly value: unknown; readonly ended: Ending | undefined } {
  if (typeof value === 'string') {
    const { text, ended } = rewriteText(rules, value, options);
    return { value: text, ended };
  }
  if (typeof value !== 'object' || value === null || depth > 64) return { value, ended: undefined };
  let changed = false;
  let ended: Ending | undefined;
  const rewrite = (item: unknown) => {
    const result = rewriteJson(rules, item, options, depth + 1);
    changed ||= result.value !== item;
    ended ??= result.ended;
    return result.value as Json; // strings become strings, the rest stays
  };
  const copy = Array.isArray(value)
    ? value.map(rewrite)
    : Object.fromEntries(Object.entries(value).map(([name, item]) => [String(rewrite(name)), rewrite(item)]));
  return { value: changed ? copy : value, ended };
}

/** An upstream's refusal may repeat what was said: its words are an answer too. What would end one stands for itself. */
export function rewriteError(rules: RuleSet, error: unknown, options?: ScanOptions): unknown {
  if (!(error instanceof GatewayError)) return error;
  const rewrite = (text: string | null): string | undefined => {
    const rewritten = rewriteText(rules, text ?? '', options);
    return rewritten.ended ? 'withheld' : rewritten.text || undefined;
  };
  const { cause, kind, message, param, code, type, ...more } = error;
  const words = { message: rewrite(message) ?? '', param: rewrite(param), code: rewrite(code), type: rewrite(type) };
  if (words.message === message && words.param === (param ?? undefined) && words.code === (code ?? undefined))
    return error;
  return new GatewayError(kind, words.message, { ...more, ...words, cause });
}
