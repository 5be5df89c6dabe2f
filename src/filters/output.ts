import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import { through } from '../core/through.ts';
import { retryWanted } from './active.ts';
import { AnswerFilter, type AnswerOptions } from './answer-filter.ts';
import { paced } from './pace.ts';
import type { RuleSet } from './rules.ts';

export interface OutputOptions extends AnswerOptions {
  /** Another answer to the same request, from another target where there is one. */
  readonly again?: (() => Promise<AsyncIterable<CompletionEvent> | undefined>) | undefined;
}

/**
 * An answer's events with the rules applied to every field that carries text, each field of each choice on its own.
 * A delta that is clean passes as the same object. Holds back only live prefixes of matches; bounded by the longest.
 */
export function filterEvents(
  source: AsyncIterable<CompletionEvent>,
  rules: RuleSet,
  options: OutputOptions,
): AsyncIterable<CompletionEvent> {
  const { again } = options;
  return again && rules.retries ? askedAgain(source, rules, options, again) : filtered(source, rules, options);
}

const filtered = (
  source: AsyncIterable<CompletionEvent>,
  rules: RuleSet,
  options: OutputOptions,
  mayRetry?: () => boolean,
): AsyncIterable<CompletionEvent> => through(paced(source), () => new AnswerFilter(rules, options, mayRetry));

/** The same where a rule may ask for another answer, once. */
async function* askedAgain(
  source: AsyncIterable<CompletionEvent>,
  rules: RuleSet,
  options: OutputOptions,
  again: NonNullable<OutputOptions['again']>,
): AsyncGenerator<CompletionEvent> {
  let asked = false;
  for (let events: AsyncIterable<CompletionEvent> | undefined = source; events; ) {
    let next: AsyncIterable<CompletionEvent> | undefined;
    let sent = false;
    for await (const event of filtered(events, rules, options, () => !sent && !asked)) {
      if (event === retryWanted) {
        asked = true;
        next = await again();
        if (next) break;
        throw new GatewayError(
          'upstream_failed',
          'No other target could answer after a filter asked for another answer.',
        );
      }
      sent ||= event.type !== 'start' && event.type !== 'progress';
      yield event;
    }
    events = next;
  }
}
