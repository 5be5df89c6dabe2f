import type { CompletionEvent } from '../core/event.ts';
import { type ChatRequest, leftOutWarning } from '../core/request.ts';
import type { Target } from '../core/route.ts';
import type { Run } from '../core/run.ts';
import type { ReadyIterator } from '../core/streams.ts';
import { type AnswerDeps, cutShort, Delivery } from './delivery.ts';
import type { AnswerOrder, Opened, Opening } from './opening.ts';
import { recover } from './recovery.ts';

/**
 * One answer, from a target that has begun it and from those that take over, exactly where what is delivered ends: the
 * client sees one stream in either case.
 */
export function answer(order: AnswerOrder, deps: AnswerDeps, opening: Opening, opened: Opened): Run {
  const { leaf, reason, expectedTtftMs } = opened.planned;
  if (order.plan.targets.length > 1) opening.decide('target', leaf.target.name, reason);
  const headers: Record<string, string> = { 'x-tidegate-route': headerText(reason) };
  if (expectedTtftMs !== undefined) headers['x-tidegate-predicted-ttft-ms'] = String(Math.round(expectedTtftMs));
  const ignored = opened.call.isPassing ? [] : ignoredBy(leaf.target, order.request);
  if (ignored.length > 0) {
    headers['x-tidegate-warning'] = leftOutWarning(ignored);
    opening.decide('ignored', leaf.target.name, ignored.join(', ').slice(0, 500));
  }
  return {
    target: leaf.target.name,
    attempts: opening.attempts,
    cache: 'bypass',
    headers,
    decisions: () => opening.decisions,
    events: new AnswerEvents(new Delivery(order, deps, opening, opened)),
  };
}

/** What of the request the answer knows nothing of: of its API as a whole, and of what this target can do. */
const ignoredBy = ({ provider, model }: Target, request: ChatRequest): readonly string[] => [
  ...new Set([...(request.leftOut ?? []), ...(provider.ignores?.({ ...request, model }) ?? [])]),
];

const headerText = (text: string): string =>
  /^[\x20-\x7e]{0,200}$/.test(text) ? text : text.replace(/[^\x20-\x7e]/g, '>').slice(0, 200);

/** An iterator by hand, because this runs for every event of every answer; what is out of the ordinary is `recover`'s. */
class AnswerEvents implements ReadyIterator<CompletionEvent>, AsyncIterable<CompletionEvent> {
  readonly #delivery: Delivery;
  #recovery: AsyncGenerator<CompletionEvent> | undefined;
  /** What broke the first call where nobody waited for it; `next` goes on from there. */
  #broken: { readonly error: unknown } | undefined;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<CompletionEvent>> {
    const delivery = this.#delivery;
    if (this.#recovery) return this.#recovery.next();
    if (delivery.closed) return over;
    if (this.#broken) return this.#recover(this.#broken.error);
    delivery.started = true;
    for (;;) {
      let result: IteratorResult<CompletionEvent>;
      try {
        result = await delivery.current.call.next();
      } catch (error) {
        return this.#recover(error);
      }
      if (result.done) return delivery.isCutShort ? this.#recover(this.#cutShort()) : this.#complete();
      if (delivery.passes(result.value)) return result;
    }
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    const delivery = this.#delivery;
    if (this.#recovery || this.#broken) return undefined;
    if (delivery.closed) return over;
    delivery.started = true;
    for (;;) {
      let result: IteratorResult<CompletionEvent, undefined> | undefined;
      try {
        result = delivery.current.call.ready();
      } catch (error) {
        this.#broken = { error };
      }
      if (!result || (result.done && delivery.isCutShort)) return undefined;
      if (result.done) return this.#complete();
      if (delivery.passes(result.value)) return result;
    }
  }

  wait(): Promise<void> | undefined {
    const delivery = this.#delivery;
    return this.#recovery || this.#broken || delivery.closed ? undefined : delivery.current.call.wait();
  }

  async return(): Promise<IteratorResult<CompletionEvent>> {
    this.#delivery.close();
    await this.#recovery?.return(undefined);
    return over;
  }

  /** The first call made the whole answer. */
  #complete(): IteratorResult<CompletionEvent, undefined> {
    const delivery = this.#delivery;
    delivery.succeeded();
    delivery.ended();
    const { usage } = delivery;
    return usage && !delivery.usageSent ? { done: false, value: { type: 'usage', usage } } : over;
  }

  #recover(error: unknown): Promise<IteratorResult<CompletionEvent>> {
    this.#recovery = recover(this.#delivery, error);
    return this.#recovery.next();
  }

  #cutShort() {
    return cutShort(this.#delivery.current.planned.leaf.target.name);
  }
}

const over = { done: true, value: undefined } as const;
