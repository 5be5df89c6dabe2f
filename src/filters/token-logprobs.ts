import type { CompletionEvent, TokenLogprob } from '../core/event.ts';
import type { RuleSet } from './rules.ts';
import type { Scanner } from './scanner.ts';
import { rewriteText } from './whole.ts';

interface Waiting {
  readonly from: number;
  readonly to: number;
  readonly logprob: TokenLogprob;
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

const encoder = new TextEncoder();

/**
 * Notes which part of the text each token stands for. Tokens that do not add up to it could spell anything: they go, but
 * for those of an `earlier` filter, which has seen to that and may give a token out behind its beginning.
 */
export function enqueue(
  { scanner, waiting }: Field,
  text: string,
  logprobs: readonly TokenLogprob[],
  earlier = false,
): void {
  const exact = logprobs.map(({ token }) => token).join('') === text;
  if (!exact && !earlier) return;
  let from = scanner.read;
  for (const logprob of logprobs) {
    const to = from + (exact ? logprob.token.length : text.length);
    waiting.push({ from, to, logprob: honest(logprob) });
    if (exact) from = to;
  }
}

/** Bytes that are not the token's own could spell anything too. */
function honest<T extends Pick<TokenLogprob, 'token' | 'bytes'>>(logprob: T): T {
  const { token, bytes } = logprob;
  if (bytes === null || encoder.encode(token).join() === bytes.join()) return logprob;
  return { ...logprob, bytes: null };
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
    const { from, to, logprob } = waiting[0];
    waiting.shift();
    if (to > scanner.decided || scanner.removed(from, to)) continue;
    ready.push({ ...logprob, top: logprob.top.filter(({ token }) => isClean(rules, token)).map(honest) });
  }
  return ready.length > 0 ? { ...event, logprobs: ready } : event;
}
