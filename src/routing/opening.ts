import { anySignal } from '../core/abort.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Attempt, Decision, RequestContext } from '../core/run.ts';
import { sleep, throwIfAborted } from '../core/signals.ts';
import { upstreamHeaders } from '../core/trace.ts';
import { backoffMs, retryDelayMs } from './backoff.ts';
import { type Call, openCall } from './call.ts';
import type { Facts } from './facts.ts';
import { hedged } from './hedge.ts';
import type { RouteRules } from './model.ts';
import { nobodyLeft, type Plan, type Planned } from './plan.ts';
import type { RetryBudget } from './retry-budget.ts';
import { type TargetStates, unavailable } from './state.ts';
import { continuationFor } from './takeover.ts';
import type { Outcome, Version } from './versions.ts';

export interface OpeningDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly states: TargetStates;
  /** What became of a request that a trial sent to a version. */
  readonly report: (planned: Planned, version: Version, outcome: Outcome) => void;
}

export interface AnswerOrder {
  readonly route: string;
  readonly rules: RouteRules;
  readonly plan: Plan;
  readonly facts: Facts;
  readonly request: ChatRequest;
  readonly context: RequestContext;
  /** Aborts with the client, the total deadline, or a shutdown. */
  readonly signal: AbortSignal;
  /** Filters read what this route's upstreams say; of attempts nobody does, so their words stay out of the record. */
  readonly isFiltered: boolean;
}

export interface Opened {
  readonly planned: Planned;
  readonly call: Call;
}

/** Opens calls for one answer and writes them down, for its record. */
export class Opening {
  readonly attempts: Attempt[] = [];
  readonly decisions: Decision[] = [];
  readonly #order: AnswerOrder;
  readonly #deps: OpeningDeps;
  readonly #fallbacks: RetryBudget;
  readonly #untilWhole: boolean;
  #calls = 0;
  /** Who broke last: no hedge against another one's slowness. */
  #broken: Planned | undefined;

  constructor(order: AnswerOrder, deps: OpeningDeps) {
    this.#order = order;
    this.#deps = deps;
    this.#fallbacks = deps.states.fallbacks(order.route);
    this.#fallbacks.deposit();
    const { request, plan } = order;
    this.#untilWhole = !request.stream && !plan.targets.some(({ leaf }) => leaf.target.provider.capabilities.prefill);
  }

  decide(name: string, action: string, detail?: string): void {
    if (this.decisions.length < 32) {
      this.decisions.push({ stage: 'routing', name, action, ...(detail && { detail }) });
    }
  }

  /** How a call ended, for the trial that chose its target. */
  report(planned: Planned, failure: GatewayError | undefined, ttftMs?: number): void {
    const { trial } = planned;
    if (failure) this.#broken = planned;
    if (!trial || failure?.blame === 'client') return;
    this.#deps.report(planned, trial.version, { ok: !failure, ...(ttftMs !== undefined && { ttftMs }) });
  }

  /**
   * The first of the candidates that answers, with retries, back-off and hedge; throws what the last one threw. Who is
   * `continuing` an answer asks on also when a target refuses the request: the client's own was fine.
   */
  async openFirst(candidates: readonly Planned[], asked: ChatRequest, continuing = false): Promise<Opened> {
    const { rules, route, signal } = this.#order;
    const { clock, states } = this.#deps;
    const askOf = ({ leaf }: Planned) => (continuing ? continuationFor(leaf.target, asked) : asked);
    let last: GatewayError | undefined;
    const used = new Set<Planned>();
    let failedCalls = 0;
    for (let index = 0; index < candidates.length; index++) {
      const planned = candidates[index] as Planned; // in range
      const { target } = planned.leaf;
      const state = states.of(target.name);
      const isLast = index === candidates.length - 1;
      let isFallback = failedCalls > 0;
      for (let retry = 0; !used.has(planned); retry++) {
        const now = clock.now();
        const out = unavailable(state, now);
        if (!out && isFallback) {
          isFallback = false; // paid once, however often it is asked
          if (!this.#fallbacks.withdraw()) {
            this.decide('fallback', 'refused', `${target.name}: budget is spent`);
            break;
          }
        }
        if (out || !state.breaker.take(now)) {
          last ??= new GatewayError('unavailable', `${target.name} is out of service: ${out?.reason ?? 'half open'}.`, {
            retryAfterMs: Math.max(0, (out?.retryAtMs ?? now + 1000) - now),
          });
          break;
        }
        try {
          if (!rules.hedge) return await this.#open(planned, askOf(planned), signal);
          return await this.#openHedged(planned, candidates.slice(index + 1), askOf, used, rules.hedge.afterMs);
        } catch (error) {
          throwIfAborted(signal);
          const failure = toGatewayError(error);
          if (!isUnfit(failure)) failedCalls += 1;
          if (!continuing && !goesOn(failure)) throw failure;
          last = failure;
          const sameAgain = retriesSame(failure) || (isLast && failure.kind === 'upstream_rate_limited');
          if (!sameAgain || !(await this.#pause(target.name, failure, retry))) break;
        }
      }
    }
    throw last ?? nobodyLeft(this.#order.plan, route, clock.now());
  }

  /** Waits until the target may be asked once more; false where it is not to be. */
  async #pause(target: string, failure: GatewayError, retry: number): Promise<boolean> {
    const { rules, signal } = this.#order;
    const { clock, random, states } = this.#deps;
    if (retry >= rules.retry.attempts) return false;
    const backoff = backoffMs(retry, rules.retry, random);
    const delayMs = retryDelayMs(failure.retryAfterMs, backoff, rules.retry.longestWaitMs);
    if (delayMs === undefined) return false;
    const state = states.of(target);
    // An engine of ours that ended took all its calls with it, and has bounds of its own: none of them is left behind.
    if (failure.kind !== 'engine_failed' && !state.retries.withdraw()) {
      this.decide('retry', 'refused', `${target}: budget is spent`);
      return false;
    }
    // Timers may ring a little early, and its own cool-down would then keep this retry out.
    await sleep(Math.max(delayMs, state.coolUntilMs - clock.now() + 2), signal);
    return true;
  }

  /** One call of one target, written down. */
  async #open(planned: Planned, asked: ChatRequest, signal: AbortSignal, race = false): Promise<Opened> {
    const { rules, facts, context } = this.#order;
    const { clock, states } = this.#deps;
    const { target } = planned.leaf;
    const startedMs = clock.now();
    try {
      const call = await openCall({
        target,
        state: states.of(target.name),
        request: asked,
        options: { signal, tenant: context.caller.tenant, headers: upstreamHeaders(context, this.#calls++) },
        timeouts: rules.timeouts,
        clock,
        tokens: facts.promptTokens + facts.outputTokens,
        untilToken: race,
        untilWhole: this.#untilWhole && !race, // a race is for the first token
      });
      this.attempts.push({ target: target.name, startedMs, durationMs: clock.now() - startedMs });
      return { planned, call };
    } catch (error) {
      const failure = toGatewayError(error);
      const { kind, status } = failure;
      const message = this.#order.isFiltered ? `${target.name} failed.` : failure.message;
      const durationMs = clock.now() - startedMs;
      this.attempts.push({ target: target.name, startedMs, durationMs, error: { kind, message, status } });
      this.report(planned, failure);
      throw failure;
    }
  }

  #openHedged(
    planned: Planned,
    others: readonly Planned[],
    askOf: (planned: Planned) => ChatRequest,
    used: Set<Planned>,
    afterMs: number,
  ): Promise<Opened> {
    const { signal } = this.#order;
    const { clock, states } = this.#deps;
    return hedged(
      (lost) => this.#open(planned, askOf(planned), anySignal([signal, lost]), true),
      (lost) => {
        const state = (other: Planned) => states.of(other.leaf.target.name);
        const fit = (each: Planned) =>
          each !== this.#broken && !used.has(each) && !unavailable(state(each), clock.now());
        const other = others.find(fit);
        if (!other || !state(other).breaker.take(clock.now()) || !state(other).retries.withdraw()) return undefined;
        used.add(other);
        this.decide('hedge', other.leaf.target.name, `no token of ${planned.leaf.target.name} after ${afterMs} ms`);
        return this.#open(other, askOf(other), anySignal([signal, lost]), true);
      },
      afterMs,
      ({ call }, reason) => call.cancel(reason),
    );
  }
}

/** Whether another call may succeed where this one failed: what another target can do better than this one counts too. */
const goesOn = (failure: GatewayError) => failure.retryable || failure.kind === 'internal' || isUnfit(failure);

/** The target is well, but not for this request: it lacks the model, the room or the ability. Asking the next one is no storm. */
const isUnfit = ({ kind, status }: GatewayError) =>
  kind === 'context_length_exceeded' ||
  kind === 'unsupported' ||
  (kind === 'upstream_rejected' && (status === 404 || status === 413));

/** A broken connection or a 5xx may be gone a moment later; a slow, unwilling or absent target is left for the next one. */
const retriesSame = ({ kind }: GatewayError) =>
  kind === 'upstream_failed' || kind === 'upstream_unreachable' || kind === 'engine_failed';
