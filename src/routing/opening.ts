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
}

/** What happened to one request on its way, for its record. */
export interface Journal {
  readonly attempts: readonly Attempt[];
  readonly decisions: readonly Decision[];
  decide(name: string, action: string, detail?: string): void;
}

export interface Opened {
  readonly planned: Planned;
  readonly call: Call;
  readonly ttftMs: () => number | undefined;
}

/** Opens calls for one answer and writes them down. */
export interface Opening extends Journal {
  /**
   * The first of the candidates that answers, with retries, back-off and hedge; throws what the last one threw. Who is
   * `continuing` an answer asks on also when a target refuses the request: the client's own was fine.
   */
  openFirst(candidates: readonly Planned[], asked: ChatRequest, continuing?: boolean): Promise<Opened>;
  /** How a call ended, for the trial that chose its target. */
  report(planned: Planned, failure: GatewayError | undefined, ttftMs?: number): void;
}

export function createOpening(order: AnswerOrder, deps: OpeningDeps): Opening {
  const { rules, plan, facts, request, context, signal, route } = order;
  const { clock, random, states } = deps;
  const attempts: Attempt[] = [];
  const decisions: Decision[] = [];
  const fallbacks = states.fallbacks(route);
  fallbacks.deposit();
  const decide = (name: string, action: string, detail?: string) => {
    if (decisions.length < 32) decisions.push({ stage: 'routing', name, action, ...(detail && { detail }) });
  };
  let calls = 0;
  const untilWhole = !request.stream && !plan.targets.some(({ leaf }) => leaf.target.provider.capabilities.prefill);

  /** One call of one target, written down. */
  const open = (planned: Planned, asked: ChatRequest, callSignal: AbortSignal, race = false): Promise<Opened> => {
    const { target } = planned.leaf;
    const startedMs = clock.now();
    let ttftMs: number | undefined;
    const written = (error?: GatewayError): Attempt => ({
      target: target.name,
      startedMs,
      durationMs: clock.now() - startedMs,
      ...(error && { error: { kind: error.kind, message: error.message, status: error.status } }),
    });
    return openCall({
      target,
      state: states.of(target.name),
      request: asked,
      options: { signal: callSignal, tenant: context.caller.tenant, headers: upstreamHeaders(context, calls++) },
      timeouts: rules.timeouts,
      clock,
      tokens: facts.promptTokens + facts.outputTokens,
      untilToken: race,
      untilWhole,
      onFirstToken: (ms) => {
        ttftMs = ms;
      },
    }).then(
      (call) => {
        attempts.push(written());
        return { planned, call, ttftMs: () => ttftMs };
      },
      (error: unknown) => {
        const failure = toGatewayError(error);
        attempts.push(written(failure));
        report(planned, failure);
        throw failure;
      },
    );
  };
  const report = (planned: Planned, failure: GatewayError | undefined, ttftMs?: number) => {
    const { trial } = planned;
    if (!trial || failure?.blame === 'client') return;
    deps.report(planned, trial.version, { ok: !failure, ...(ttftMs !== undefined && { ttftMs }) });
  };

  const openFirst: Opening['openFirst'] = async (candidates, asked, continuing = false) => {
    const askOf = ({ leaf }: Planned) => (continuing ? continuationFor(leaf.target, asked) : asked);
    let last: GatewayError | undefined;
    const used = new Set<Planned>();
    let failedCalls = 0;
    for (const [index, planned] of candidates.entries()) {
      const { target } = planned.leaf;
      const state = states.of(target.name);
      const isLast = index === candidates.length - 1;
      let isFallback = failedCalls > 0;
      for (let retry = 0; !used.has(planned); ) {
        const now = clock.now();
        const out = unavailable(state, now);
        if (!out && isFallback) {
          isFallback = false; // paid once, however often it is asked
          if (!fallbacks.withdraw()) {
            decide('fallback', 'refused', `${target.name}: budget is spent`);
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
          if (!rules.hedge) return await open(planned, askOf(planned), signal);
          return await openHedged(planned, candidates.slice(index + 1), askOf, used, rules.hedge.afterMs);
        } catch (error) {
          throwIfAborted(signal);
          const failure = toGatewayError(error);
          failedCalls += 1;
          if (!continuing && !goesOn(failure)) throw failure;
          last = failure;
          const sameAgain = retriesSame(failure) || (isLast && failure.kind === 'upstream_rate_limited');
          if (!sameAgain || retry >= rules.retry.attempts) break;
          const delayMs = retryDelayMs(
            failure.retryAfterMs,
            backoffMs(retry, rules.retry, random),
            rules.retry.longestWaitMs,
          );
          if (delayMs === undefined) break;
          if (!state.retries.withdraw()) {
            decide('retry', 'refused', `${target.name}: budget is spent`);
            break;
          }
          retry += 1;
          // Timers may ring a little early, and its own cool-down would then keep this retry out.
          await sleep(Math.max(delayMs, state.coolUntilMs - clock.now() + 2), signal);
        }
      }
    }
    throw last ?? nobodyLeft(plan, route, clock.now());
  };

  const openHedged = (
    planned: Planned,
    others: readonly Planned[],
    askOf: (planned: Planned) => ChatRequest,
    used: Set<Planned>,
    afterMs: number,
  ): Promise<Opened> =>
    hedged(
      (lost) => open(planned, askOf(planned), anySignal([signal, lost]), true),
      (lost) => {
        const state = (other: Planned) => states.of(other.leaf.target.name);
        const other = others.find((each) => !used.has(each) && !unavailable(state(each), clock.now()));
        if (!other || !state(other).breaker.take(clock.now()) || !state(other).retries.withdraw()) return undefined;
        used.add(other);
        decide('hedge', other.leaf.target.name, `no token of ${planned.leaf.target.name} after ${afterMs} ms`);
        return open(other, askOf(other), anySignal([signal, lost]), true);
      },
      afterMs,
      ({ call }, reason) => call.cancel(reason),
    );

  return { attempts, decisions, decide, openFirst, report };
}

/** Whether another call may succeed where this one failed: what another target can do better than this one counts too. */
const goesOn = ({ kind, retryable }: GatewayError) =>
  retryable || kind === 'internal' || kind === 'context_length_exceeded' || kind === 'unsupported';

/** A broken connection or a 5xx may be gone a moment later; a slow, unwilling or absent target is left for the next one. */
const retriesSame = ({ kind }: GatewayError) =>
  kind === 'upstream_failed' || kind === 'upstream_unreachable' || kind === 'engine_failed';
