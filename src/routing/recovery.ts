import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CompletionEvent, Usage } from '../core/event.ts';
import { throwIfAborted } from '../core/signals.ts';
import { cutShort, type Delivery, unfinished, withStory } from './delivery.ts';
import type { Facts } from './facts.ts';
import type { Planned } from './plan.ts';
import { rejoin } from './rejoin.ts';
import { type Continuation, isBrokenJson, type Rest, restOf, usageOfAll } from './takeover.ts';

/**
 * What follows when the first call did not make the whole answer: others go on from there, from exactly what is
 * delivered. Throws when nobody can.
 */
export async function* recover(delivery: Delivery, error: unknown): AsyncGenerator<CompletionEvent> {
  try {
    yield* new Recovery(delivery).events(error);
    delivery.ended();
  } catch (thrown) {
    const failure = withStory(toGatewayError(thrown), delivery.opening);
    delivery.close(failure);
    throw failure;
  } finally {
    delivery.close();
  }
}

class Recovery {
  readonly #delivery: Delivery;
  readonly #parts: { target: string; usage: Usage }[] = [];
  /** What the current call is for; undefined while it makes the answer as a whole. */
  #rest: Rest | undefined;
  #place: ReturnType<typeof rejoin> | undefined;
  /** The bytes that went out unread and what they said, to be told to the encoder with the takeover. */
  #sent: Uint8Array | undefined;
  #said: readonly CompletionEvent[] | undefined;
  #changes = 0;
  #tokensBefore = 0;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
  }

  async *events(error: unknown): AsyncGenerator<CompletionEvent> {
    const delivery = this.#delivery;
    let failure: GatewayError | undefined = this.#broke(error);
    for (;;) {
      if (failure && delivery.unread) this.#readWire(failure);
      this.#book(failure);
      if (!failure && delivery.unread) break;
      if (failure && !delivery.delivered.any && !this.#said) await this.#beginAnew(failure);
      else if (!(yield* this.#goOn(failure))) break;
      failure = yield* this.#follow();
    }
    const usage = usageOfAll(this.#parts);
    if (usage && !delivery.usageSent) yield { type: 'usage', usage };
  }

  get #target(): string {
    return this.#delivery.current.planned.leaf.target.name;
  }

  /** The current call's failure; throws it where nobody else would do better. */
  #broke(thrown: unknown): GatewayError {
    const { current, opening, order } = this.#delivery;
    const failure = current.call.fail(thrown);
    opening.report(current.planned, failure);
    throwIfAborted(order.signal);
    if (!failure.retryable && failure.kind !== 'internal') throw failure;
    this.#changes += 1;
    return failure;
  }

  /** Hands on what the current call gives; gives what broke it. */
  async *#follow(): AsyncGenerator<CompletionEvent, GatewayError | undefined> {
    const delivery = this.#delivery;
    try {
      for (;;) {
        const result = await delivery.current.call.next();
        if (result.done) break;
        for (const event of this.#place?.(result.value) ?? [result.value]) {
          if (event.type === 'finish' && event.reason !== 'length') this.#refuseBrokenJson(event.choice);
          if (delivery.passes(event)) yield event;
        }
      }
      if (!delivery.unread && unfinished(delivery.order.request, delivery.delivered, this.#rest) > 0) {
        throw cutShort(this.#target);
      }
      delivery.succeeded();
      return undefined;
    } catch (thrown) {
      return this.#broke(thrown);
    }
  }

  /** Two halves of JSON that do not fit are no answer. */
  #refuseBrokenJson(choice: number): void {
    if (!this.#place) return;
    const { delivered, order } = this.#delivery;
    const cutCall = this.#rest?.request && this.#rest.cutCall;
    if (!isBrokenJson(order.request, delivered.choices.get(choice), cutCall)) return;
    this.#changes = order.rules.takeover.attempts; // nobody can mend what is delivered
    throw new GatewayError('upstream_failed', `${this.#target} went on with JSON so that it is none.`);
  }

  /** Reads what the client was given as bytes; whoever goes on has to know. */
  #readWire(failure: GatewayError): void {
    const { wire, delivered, opening, deps, order } = this.#delivery;
    this.#sent = wire.overflowed ? undefined : wire.bytes();
    this.#said = this.#sent && order.request.wire && deps.decodeWire?.(order.request.wire.dialect, this.#sent);
    if (!this.#said) {
      opening.decide('takeover', 'impossible', 'nobody else can finish what was passed through');
      throw failure;
    }
    this.#delivery.unread = false;
    for (const event of this.#said) delivered.push(event);
  }

  /** What the call that has ended cost. */
  #book(failure: GatewayError | undefined): void {
    const { usage, delivered, order } = this.#delivery;
    if (!usage && !failure) return;
    const made = delivered.tokens - this.#tokensBefore;
    this.#parts.push({ target: this.#target, usage: usage ?? estimate(order.facts, made) });
    this.#tokensBefore = delivered.tokens;
    this.#delivery.usage = undefined;
  }

  /** Only progress was told: as good as before the first event. */
  async #beginAnew(failure: GatewayError): Promise<void> {
    const { opening, current, order } = this.#delivery;
    const broken = this.#target;
    if (this.#changes > order.rules.takeover.attempts) throw failure;
    const candidates = successors(order.plan.targets, current.planned, true);
    this.#delivery.current = await opening.openFirst(candidates, order.request).catch((error: unknown) => {
      throwIfAborted(order.signal);
      throw this.#rest ? error : failure;
    });
    opening.decide('fallback', this.#target, `${broken}: ${failure.kind} before its first token`);
  }

  /** Opens the call that goes on from what is delivered, and ends the choices that need none; false where all are ended. */
  async *#goOn(failure: GatewayError | undefined): AsyncGenerator<CompletionEvent, boolean> {
    const { delivered, opening, current, deps, order } = this.#delivery;
    const rests = restOf(order.request, delivered);
    if (typeof rests === 'string') {
      opening.decide('takeover', 'impossible', rests);
      throw failure ?? cutShort(this.#target);
    }
    const next = rests.find((each) => each.request !== undefined);
    if (failure && next) {
      await this.#takeOver(failure, next);
      yield this.#takeoverEvent();
    } else if (next) {
      const candidates = successors(order.plan.targets, current.planned, false, next);
      this.#delivery.current = await opening.openFirst(candidates, next.request, true);
    } else if (this.#said) yield this.#takeoverEvent(); // only its end is missing, which is the encoder's to write
    for (const { choice } of rests.filter((each) => each.request === undefined)) {
      const finish = { type: 'finish', choice, reason: 'length' } as const;
      delivered.push(finish);
      deps.watch?.(finish);
      yield finish;
    }
    if (!next) return false;
    this.#rest = next;
    this.#place = rejoin(next, delivered);
    return true;
  }

  async #takeOver(failure: GatewayError, rest: Continuation): Promise<void> {
    const { delivered, opening, current, order } = this.#delivery;
    const broken = this.#target;
    if (this.#changes > order.rules.takeover.attempts) throw failure;
    const candidates = successors(order.plan.targets, current.planned, true, rest);
    if (candidates.length === 0) {
      opening.decide('takeover', 'impossible', 'no target continues a given beginning');
      throw failure;
    }
    this.#delivery.current = await opening.openFirst(candidates, rest.request, true).catch((error: unknown) => {
      throwIfAborted(order.signal);
      opening.decide('takeover', 'failed', toGatewayError(error).kind);
      throw failure; // the client is told what broke its answer
    });
    opening.decide('takeover', this.#target, `${broken}: ${failure.kind} after ${delivered.tokens} tokens`);
  }

  /** Tells the encoder who goes on, and once what the bytes said. */
  #takeoverEvent(): CompletionEvent {
    const bytes = this.#said && { delivered: this.#said, ...(this.#sent && { sent: this.#sent }) };
    this.#said = undefined;
    this.#sent = undefined;
    return { type: 'takeover', target: this.#target, attempts: this.#delivery.opening.attempts.length, ...bytes };
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

const estimate = (facts: Facts, completionTokens: number): Usage => ({
  promptTokens: facts.promptTokens,
  completionTokens,
  estimated: true,
});
