import { GatewayError } from '../core/errors.ts';
import type { FinishReason } from '../core/event.ts';
import { withDeadline } from '../core/signals.ts';
import type { Direction } from './compile.ts';

/** What a filter that reads whole texts says about one. `detail` is recorded and holds no text of it. */
export type Verdict =
  | { readonly action: 'pass' }
  | {
      readonly action: 'block' | 'flag' | 'retry';
      readonly detail?: string;
      readonly message?: string;
      /** With `retry`: this much of the answer is good, and another may go on from there. */
      readonly beginning?: string;
    }
  | { readonly action: 'replace'; readonly texts: readonly string[]; readonly detail?: string };

/** An answer's choice so far, or at its end. */
export interface AnswerText {
  readonly text: string;
  readonly refusal: string;
  readonly calls: readonly string[];
  readonly complete: boolean;
  readonly finishReason: FinishReason | undefined;
  /** Mean of the tokens' natural log-probabilities, where the upstream gave them. */
  readonly meanLogprob: number | undefined;
}

/** A filter that needs more than a prefix of a match: it reads whole requests and answers. */
export interface Reader {
  readonly name: string;
  /** Undefined: does not read requests. */
  readRequest?(texts: readonly string[], signal: AbortSignal): Promise<Verdict>;
  readAnswer?(answer: AnswerText, signal: AbortSignal): Promise<Verdict>;
  /** False: answers pass at once and are only recorded. */
  readonly holds: boolean;
  /** An answer is read each time so many characters came; at its end only if absent. */
  readonly everyCharacters?: number;
  /** Once it passed, the rest is not held any more. */
  readonly once?: boolean;
}

export const pass: Verdict = { action: 'pass' };

/** All that counts as said in an answer. */
export const spoken = ({ text, refusal, calls }: AnswerText): string =>
  [text, refusal, ...calls].filter(Boolean).join('\n');

/**
 * A verdict from elsewhere (a model, another service) within `timeoutMs`. When none comes, `onError` decides: let pass,
 * or block; either is recorded. A client that left is no failure.
 */
export async function fromElsewhere(
  ask: (signal: AbortSignal) => Promise<Verdict>,
  { timeoutMs, onError, signal }: { timeoutMs: number; onError: 'open' | 'closed'; signal: AbortSignal },
): Promise<Verdict> {
  const deadline = withDeadline(signal, timeoutMs, 'A filter');
  try {
    return await Promise.race([ask(deadline.signal), aborted(deadline.signal)]);
  } catch (error) {
    if (signal.aborted) throw error;
    const kind = error instanceof GatewayError ? error.kind : 'internal';
    return onError === 'open'
      ? { action: 'flag', detail: `no verdict (${kind}), passed` }
      : { action: 'block', detail: `no verdict (${kind})`, message: 'The text could not be checked; try again later.' };
  } finally {
    deadline.clear();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(signal.reason);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

/** The same verdict as a shadow gives it: recorded, not done. */
export function shadowed(verdict: Verdict): Verdict {
  if (verdict.action === 'pass' || verdict.action === 'flag') return verdict;
  return {
    action: 'flag',
    detail: `would ${verdict.action}${verdict.detail === undefined ? '' : `, ${verdict.detail}`}`,
  };
}

export type Note = (name: string, action: string, direction: Direction, detail?: string) => void;
