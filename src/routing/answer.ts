import { type ByteLog, createByteLog } from '../core/byte-log.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CompletionEvent, Usage } from '../core/event.ts';
import type { ChatRequest, Dialect } from '../core/request.ts';
import type { Attempt, Decision, Run } from '../core/run.ts';
import { abortError, throwIfAborted } from '../core/signals.ts';
import type { ReadyIterator } from '../core/streams.ts';
import type { Facts } from './facts.ts';
import { type AnswerOrder, createOpening, type Opened, type OpeningDeps } from './opening.ts';
import type { Planned } from './plan.ts';
import {
  createDelivered,
  type Delivered,
  insideToolCall,
  isBrokenJson,
  type Rest,
  rejoin,
  restOf,
  sumUsage,
} from './takeover.ts';

/** What the bytes of a broken pass-through answer said; given by the composition root, because routing knows no wire. */
export type DecodeWire = (dialect: Dialect, bytes: Uint8Array) => readonly CompletionEvent[] | undefined;

/** One for all: making an error writes down the stack, which costs more than the rest of ending an answer. */
const nobodyReads = new GatewayError('cancelled', 'Nobody reads the answer any more.');

export interface AnswerDeps extends OpeningDeps {
  readonly decodeWire?: DecodeWire;
  /** Sees every event that leaves, for the shadow. */
  readonly watch?: (event: CompletionEvent) => void;
  /** Called once, when the answer has ended, whichever way. */
  readonly ended: (error: GatewayError | undefined) => void;
}

/**
 * Gets one answer from a plan's targets. Until the first event: retries, hedge, fallback. After it: takeover, from
 * exactly what is delivered. The client sees one stream in either case.
 */
export async function answer(order: AnswerOrder, deps: AnswerDeps): Promise<Run> {
  const { rules, plan, facts, request, signal } = order;
  const { attempts, decisions, decide, openFirst, report } = createOpening(order, deps);

  let current: Opened;
  try {
    current = await openFirst(plan.targets, request);
  } catch (error) {
    const failure = withStory(toGatewayError(error), attempts, decisions);
    deps.ended(failure);
    throw failure;
  }
  const opened = current;
  if (plan.targets.length > 1) decide('target', opened.planned.leaf.target.name, opened.planned.reason);

  let closed = false;
  const close = (error?: GatewayError) => {
    if (closed) return;
    closed = true;
    signal.removeEventListener('abort', onAbort);
    current.call.cancel(error ?? nobodyReads);
    deps.ended(error);
  };
  const onAbort = () => {
    if (!started) close(abortError(signal));
  };
  let started = false;
  signal.addEventListener('abort', onAbort, { once: true });

  /** The client is getting bytes that nobody has read. */
  let unread = false;
  let usage: Usage | undefined;
  let usageSent = false;
  let readable: Delivered | undefined;
  /** The bytes that went out unread, for the case that somebody must go on from them. */
  let copied: ByteLog | undefined;
  const deliveredSoFar = () => (readable ??= createDelivered(rules.takeover.maxBytes));
  const wireSoFar = () => (copied ??= createByteLog(rules.takeover.maxBytes));
  /** Writes down what leaves; false for what stays here. */
  const passes = (event: CompletionEvent): boolean => {
    if (event.type === 'usage') {
      usage = event.usage;
      if (!unread) return false; // goes out last, with what others may add
      usageSent = true;
    } else if (event.type === 'wire') {
      unread = true;
      wireSoFar().push(event.bytes);
    } else if (!unread) deliveredSoFar().push(event);
    deps.watch?.(event);
    return true;
  };
  const succeeded = () => {
    current.call.succeed();
    report(current.planned, undefined, current.ttftMs());
  };
  const ended = () => {
    closed = true;
    signal.removeEventListener('abort', onAbort);
    deps.ended(undefined);
  };
  /** The first call made the whole answer. */
  const complete = (): IteratorResult<CompletionEvent> => {
    succeeded();
    ended();
    return usage && !usageSent ? { done: false, value: { type: 'usage', usage } } : over;
  };
  const isCutShort = () => !unread && unfinished(request, deliveredSoFar(), undefined) > 0;
  const cutShort = (target: string) =>
    new GatewayError('upstream_failed', `${target} ended in the middle of its answer.`);

  /** What follows when the first call did not make the whole answer: others go on from there. */
  async function* recover(error: unknown): AsyncGenerator<CompletionEvent> {
    const delivered = deliveredSoFar();
    const wire = wireSoFar();
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
      const failure = current.call.fail(thrown);
      report(current.planned, failure);
      throwIfAborted(signal);
      if (!failure.retryable && failure.kind !== 'internal') throw failure;
      return failure;
    };
    const takeoverOf = (target: string): CompletionEvent => {
      const bytes = said && { delivered: said, ...(sent && { sent }) };
      said = undefined;
      sent = undefined;
      return { type: 'takeover', target, attempts: attempts.length, ...bytes };
    };
    /** Hands on what the current call gives; gives what broke it. */
    async function* follow(target: string): AsyncGenerator<CompletionEvent, GatewayError | undefined> {
      try {
        for (;;) {
          const result = await current.call.next();
          if (result.done) break;
          for (const event of place ? place(result.value) : [result.value]) {
            if (place && event.type === 'finish' && event.reason !== 'length') {
              if (isBrokenJson(request, delivered.choices.get(event.choice))) {
                changes = rules.takeover.attempts; // nobody can mend what is delivered
                throw brokenJson(target);
              }
            }
            if (passes(event)) yield event;
          }
        }
        if (!unread && unfinished(request, delivered, rest) > 0) throw cutShort(target);
        succeeded();
        return undefined;
      } catch (thrown) {
        return broke(thrown);
      }
    }
    try {
      let isFirst = true;
      for (;;) {
        const target = current.planned.leaf.target.name;
        const failure = isFirst ? broke(error) : yield* follow(target);
        isFirst = false;
        if (failure && unread) {
          sent = wire.overflowed ? undefined : wire.bytes();
          said = sent && request.wire && deps.decodeWire?.(request.wire.dialect, sent);
          if (!said) {
            decide('takeover', 'impossible', 'nobody else can finish what was passed through');
            throw failure;
          }
          unread = false;
          for (const event of said) delivered.push(event);
        }
        if (usage || failure) {
          parts.push({ target, usage: usage ?? estimate(facts, delivered.tokens - tokensBefore) });
          tokensBefore = delivered.tokens;
          usage = undefined;
        }
        if (!failure && unread) break;
        if (failure) changes += 1;

        if (failure && !delivered.any && said === undefined) {
          // Only progress was told: as good as before the first event.
          if (changes > rules.takeover.attempts) throw failure;
          current = await openFirst(successors(plan.targets, current.planned, true), request).catch(
            (error: unknown) => {
              throwIfAborted(signal);
              throw rest ? error : failure;
            },
          );
          decide('fallback', current.planned.leaf.target.name, `${target}: ${failure.kind} before its first token`);
          continue;
        }
        const rests = restOf(request, delivered);
        if (typeof rests === 'string') {
          decide('takeover', 'impossible', rests);
          throw failure ?? cutShort(target);
        }
        const next = rests.find((each) => each.request !== undefined);
        if (failure && next) {
          if (changes > rules.takeover.attempts) throw failure;
          const candidates = successors(plan.targets, current.planned, true, next, delivered);
          if (candidates.length === 0) {
            decide('takeover', 'impossible', 'no target continues a given beginning');
            throw failure;
          }
          const broken = failure;
          current = await openFirst(candidates, next.request, true).catch((error: unknown) => {
            throwIfAborted(signal);
            decide('takeover', 'failed', toGatewayError(error).kind);
            throw broken; // the client is told what broke its answer
          });
          const to = current.planned.leaf.target.name;
          decide('takeover', to, `${target}: ${failure.kind} after ${delivered.tokens} tokens`);
          yield takeoverOf(to);
        } else if (next) {
          const candidates = successors(plan.targets, current.planned, false, next, delivered);
          current = await openFirst(candidates, next.request, true);
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
      if (total && !usageSent) yield { type: 'usage', usage: total };
      ended();
    } catch (thrown) {
      const failure = withStory(toGatewayError(thrown), attempts, decisions);
      close(failure);
      throw failure;
    } finally {
      close();
    }
  }

  // By hand, because this runs for every event of every answer; what is out of the ordinary is the generator's.
  let recovery: AsyncGenerator<CompletionEvent> | undefined;
  const onBreak = (error: unknown) => {
    recovery = recover(error);
    return recovery.next();
  };
  const onResult = (
    result: IteratorResult<CompletionEvent>,
  ): IteratorResult<CompletionEvent> | Promise<IteratorResult<CompletionEvent>> => {
    if (!result.done) return passes(result.value) ? result : events.next();
    return isCutShort() ? onBreak(cutShort(opened.planned.leaf.target.name)) : complete();
  };
  /** What broke the first call where nobody waited for it. */
  let broken: { readonly error: unknown } | undefined;
  const events: ReadyIterator<CompletionEvent> = {
    next() {
      if (recovery) return recovery.next();
      if (closed) return Promise.resolve(over);
      if (broken) return onBreak(broken.error);
      started = true;
      return current.call.next().then(onResult, onBreak);
    },
    ready() {
      if (recovery || broken) return undefined;
      if (closed) return over;
      started = true;
      for (;;) {
        let result: IteratorResult<CompletionEvent, undefined> | undefined;
        try {
          result = current.call.ready();
        } catch (error) {
          broken = { error }; // `next` goes on from here
        }
        if (!result || (result.done && isCutShort())) return undefined;
        if (result.done) return complete();
        if (passes(result.value)) return result;
      }
    },
    async return() {
      close();
      await recovery?.return(undefined);
      return over;
    },
  };

  const predicted = opened.planned.expectedTtftMs;
  return {
    target: opened.planned.leaf.target.name,
    attempts,
    cache: 'bypass',
    headers: {
      'x-tidegate-route': opened.planned.reason.replace(/[^\x20-\x7e]/g, '>').slice(0, 200),
      ...(predicted !== undefined && { 'x-tidegate-predicted-ttft-ms': String(Math.round(predicted)) }),
    },
    decisions: () => decisions,
    events: { [Symbol.asyncIterator]: () => events },
  };
}

const over = { done: true, value: undefined } as const;

const withStory = (error: GatewayError, attempts: readonly Attempt[], decisions: readonly Decision[]) =>
  new GatewayError(error.kind, error.message, {
    cause: error.cause ?? error,
    param: error.param ?? undefined,
    code: error.code ?? undefined,
    retryAfterMs: error.retryAfterMs,
    status: error.status,
    type: error.type,
    attempts,
    decisions,
  });

/** Choices that the call should have finished and has not. */
function unfinished({ choices }: ChatRequest, delivered: Delivered, rest: Rest | undefined): number {
  if (rest) return delivered.choices.get(rest.choice)?.finished ? 0 : 1;
  let open = 0;
  for (let choice = 0; choice < choices; choice++) if (!delivered.choices.get(choice)?.finished) open += 1;
  return open;
}

/** Who may go on: those after the broken one, then those before, then itself; with text delivered only who continues exactly. */
function successors(
  targets: readonly Planned[],
  current: Planned,
  broken: boolean,
  rest?: Extract<Rest, { readonly fresh: boolean }>,
  delivered?: Delivered,
): readonly Planned[] {
  const at = targets.indexOf(current);
  const order = broken
    ? [...targets.slice(at + 1), ...targets.slice(0, at), current]
    : [current, ...targets.filter((planned) => planned !== current)];
  if (!rest || rest.fresh) return order;
  const choice = delivered?.choices.get(rest.choice);
  const inCall = choice !== undefined && insideToolCall(choice);
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
  new GatewayError('upstream_failed', `${target} went on with a JSON answer so that it is none.`);

const estimate = (facts: Facts, completionTokens: number): Usage => ({
  promptTokens: facts.promptTokens,
  completionTokens,
  estimated: true,
});
