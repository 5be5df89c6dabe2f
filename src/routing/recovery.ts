import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CompletionEvent, Usage } from '../core/event.ts';
import { throwIfAborted } from '../core/signals.ts';
import { cutShort, type Delivery, unfinished, withStory } from './delivery.ts';
import type { Facts } from './facts.ts';
import type { Planned } from './plan.ts';
import { type Continuation, isBrokenJson, type Rest, rejoin, restOf, sumUsage } from './takeover.ts';

/**
 * What follows when the first call did not make the whole answer: others go on from there, from exactly what is
 * delivered. Throws when nobody can.
 */
export async function* recover(delivery: Delivery, error: unknown): AsyncGenerator<CompletionEvent> {
  const { delivered, wire, opening, deps } = delivery;
  const { rules, plan, facts, request, signal } = delivery.order;
  const parts: { target: string; usage: Usage }[] = [];
  /** What the current call is for; undefined while it makes the answer as a whole. */
  let rest: Rest | undefined;
  let place: ((event: CompletionEvent) => readonly CompletionEvent[]) | undefined;
  /** What the unread bytes said, to be told to the encoder with the takeover. */
  let said: readonly CompletionEvent[] | undefined;
  let sent: Uint8Array | undefined;
  let changes = 0;
  let tokensBefore = 0;
  const broke = (thrown: unknown): GatewayError => {
    const failure = delivery.current.call.fail(thrown);
    opening.report(delivery.current.planned, failure);
    throwIfAborted(signal);
    if (!failure.retryable && failure.kind !== 'internal') throw failure;
    return failure;
  };
  const takeoverOf = (target: string): CompletionEvent => {
    const bytes = said && { delivered: said, ...(sent && { sent }) };
    said = undefined;
    sent = undefined;
    return { type: 'takeover', target, attempts: opening.attempts.length, ...bytes };
  };
  /** Hands on what the current call gives; gives what broke it. */
  async function* follow(target: string): AsyncGenerator<CompletionEvent, GatewayError | undefined> {
    try {
      for (;;) {
        const result = await delivery.current.call.next();
        if (result.done) break;
        for (const event of place ? place(result.value) : [result.value]) {
          if (place && event.type === 'finish' && event.reason !== 'length') {
            if (isBrokenJson(request, delivered.choices.get(event.choice), rest?.request && rest.cutCall)) {
              changes = rules.takeover.attempts; // nobody can mend what is delivered
              throw brokenJson(target);
            }
          }
          if (delivery.passes(event)) yield event;
        }
      }
      if (!delivery.unread && unfinished(request, delivered, rest) > 0) throw cutShort(target);
      delivery.succeeded();
      return undefined;
    } catch (thrown) {
      return broke(thrown);
    }
  }
  try {
    let isFirst = true;
    for (;;) {
      const target = delivery.current.planned.leaf.target.name;
      const failure = isFirst ? broke(error) : yield* follow(target);
      isFirst = false;
      if (failure && delivery.unread) {
        sent = wire.overflowed ? undefined : wire.bytes();
        said = sent && request.wire && deps.decodeWire?.(request.wire.dialect, sent);
        if (!said) {
          opening.decide('takeover', 'impossible', 'nobody else can finish what was passed through');
          throw failure;
        }
        delivery.unread = false;
        for (const event of said) delivered.push(event);
      }
      if (delivery.usage || failure) {
        parts.push({ target, usage: delivery.usage ?? estimate(facts, delivered.tokens - tokensBefore) });
        tokensBefore = delivered.tokens;
        delivery.usage = undefined;
      }
      if (!failure && delivery.unread) break;
      if (failure) changes += 1;

      if (failure && !delivered.any && said === undefined) {
        // Only progress was told: as good as before the first event.
        if (changes > rules.takeover.attempts) throw failure;
        delivery.current = await opening
          .openFirst(successors(plan.targets, delivery.current.planned, true), request)
          .catch((error: unknown) => {
            throwIfAborted(signal);
            throw rest ? error : failure;
          });
        opening.decide(
          'fallback',
          delivery.current.planned.leaf.target.name,
          `${target}: ${failure.kind} before its first token`,
        );
        continue;
      }
      const rests = restOf(request, delivered);
      if (typeof rests === 'string') {
        opening.decide('takeover', 'impossible', rests);
        throw failure ?? cutShort(target);
      }
      const next = rests.find((each) => each.request !== undefined);
      if (failure && next) {
        if (changes > rules.takeover.attempts) throw failure;
        const candidates = successors(plan.targets, delivery.current.planned, true, next);
        if (candidates.length === 0) {
          opening.decide('takeover', 'impossible', 'no target continues a given beginning');
          throw failure;
        }
        const broken = failure;
        delivery.current = await opening.openFirst(candidates, next.request, true).catch((error: unknown) => {
          throwIfAborted(signal);
          opening.decide('takeover', 'failed', toGatewayError(error).kind);
          throw broken; // the client is told what broke its answer
        });
        const to = delivery.current.planned.leaf.target.name;
        opening.decide('takeover', to, `${target}: ${failure.kind} after ${delivered.tokens} tokens`);
        yield takeoverOf(to);
      } else if (next) {
        const candidates = successors(plan.targets, delivery.current.planned, false, next);
        delivery.current = await opening.openFirst(candidates, next.request, true);
      } else if (said) yield takeoverOf(target); // only its end is missing, which is the encoder's to write
      for (const { choice } of rests.filter((each) => each.request === undefined)) {
        const finish = { type: 'finish', choice, reason: 'length' } as const;
        delivered.push(finish);
        deps.watch?.(finish);
        yield finish;
      }
      if (!next) break;
      rest = next;
      place = rejoin(next, delivered);
    }
    const total = sumUsage(parts);
    if (total && !delivery.usageSent) yield { type: 'usage', usage: total };
    delivery.ended();
  } catch (thrown) {
    const failure = withStory(toGatewayError(thrown), opening);
    delivery.close(failure);
    throw failure;
  } finally {
    delivery.close();
  }
}

/** Who may go on: those after the broken one, then those before, then itself; with text delivered only who continues exactly. */
function successors(
  targets: readonly Planned[],
  current: Planned,
  broken: boolean,
  rest?: Continuation,
): readonly Planned[] {
  const at = targets.indexOf(current);
  const order = broken
    ? [...targets.slice(at + 1), ...targets.slice(0, at), current]
    : [current, ...targets.filter((planned) => planned !== current)];
  if (!rest || rest.fresh) return order;
  const inCall = rest.cutCall !== undefined;
  const able = order.filter(({ leaf: { target } }) => {
    const { prefill, tools } = target.provider.capabilities;
    return prefill && (tools || !inCall);
  });
  if (!inCall && rest.request.responseFormat.type === 'text') return able;
  // Inside JSON who knows where the schema stands comes first.
  const exact = ({ leaf: { target } }: Planned) => target.provider.capabilities.constrainedPrefill;
  return [...able.filter(exact), ...able.filter((planned) => !exact(planned))];
}

const brokenJson = (target: string) =>
  new GatewayError('upstream_failed', `${target} went on with JSON so that it is none.`);

const estimate = (facts: Facts, completionTokens: number): Usage => ({
  promptTokens: facts.promptTokens,
  completionTokens,
  estimated: true,
});
