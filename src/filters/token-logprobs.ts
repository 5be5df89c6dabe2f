import type { CompletionEvent, TokenLogprob } from '../core/event.ts';
import type { RuleSet } from './rules.ts';
import type { Scanner } from './scanner.ts';
import { rewriteText } from './whole.ts';

interface Waiting {
  readonly from: number;
  readonly to: number;
  readonly logprob: TokenLogprob;
  /** It is not the token of its text alone. */
  readonly vague: boolean;
}

/** One field of a choice under its filter. */
export interface Field {
  /** What its text is told as; `call`: of which tool call. */
  readonly type: 'text-delta' | 'reasoning-delta' | 'refusal-delta' | 'tool-call-delta';
  readonly call: number;
  readonly scanner: Scanner;
  /** Log-probabilities that wait for their text, with its offsets. */
  readonly waiting: Waiting[];
}

/** Notes which part of the text each token stands for; tokens that do not add up to it stand for all of it. */
export function enqueue({ scanner, waiting }: Field, text: string, logprobs: readonly TokenLogprob[]): void {
  const exact = logprobs.map(({ token }) => token).join('') === text;
  let from = scanner.read;
  for (const logprob of logprobs) {
    const length = exact ? logprob.token.length : text.length;
    waiting.push({ from, to: from + length, logprob, vague: !exact });
    if (exact) from += length;
  }
}

/** True when nothing in a token itself would be changed. */
function isClean(rules: RuleSet, token: string): boolean {
  const { text, ended } = rewriteText(rules, token);
  return text === token && !ended;
}

/** The event with the log-probabilities whose text is decided and was not removed. */
export function withLogprobs(
  rules: RuleSet,
  { scanner, waiting }: Field,
  event: Extract<CompletionEvent, { type: 'text-delta' }>,
): Extract<CompletionEvent, { type: 'text-delta' }> {
  if (waiting.length === 0) return event;
  const ready: TokenLogprob[] = [];
  while (waiting[0] && (waiting[0].to <= scanner.decided || scanner.ended)) {
    const { from, to, logprob, vague } = waiting[0];
    waiting.shift();
    if (to > scanner.decided || scanner.removed(from, to) || (vague && !isClean(rules, logprob.token))) continue;
    const top = logprob.top.filter(({ token }) => isClean(rules, token));
    ready.push(top.length === logprob.top.length ? logprob : { ...logprob, top });
  }
  return ready.length > 0 ? { ...event, logprobs: ready } : event;
}
