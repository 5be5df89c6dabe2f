import { LRUCache } from 'lru-cache';
import { type Clock, randomId, systemClock } from '../core/clock.ts';
import type { GatewayError } from '../core/errors.ts';
import { type ChatRequest, type Priority, readable } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { RequestContext } from '../core/run.ts';
import type { BudgetStatus } from '../core/status.ts';
import type { Admission, Policy } from './admit.ts';
import { type BudgetOwner, type BudgetRule, budgetsOf } from './budgets.ts';
import type { Counters } from './counters.ts';
import { memoryCounters } from './counters-memory.ts';
import { estimatePromptTokens } from './estimate.ts';
import type { Keyring } from './keyring.ts';
import { type LimitRules, limitClaims, limitsTokens } from './limits.ts';
import { createMeter, type Meter } from './meter.ts';
import { createPrices, type Prices } from './price.ts';
import {
  type BudgetAlert,
  BudgetRefusal,
  createReserve,
  type Expectation,
  type Reserved,
  unlimited,
} from './reserve.ts';
import { checkScope, mayUse } from './scope.ts';

export interface PolicyOptions {
  readonly keyring: Keyring;
  readonly limits?: LimitRules;
  readonly budgets?: readonly BudgetRule[];
  readonly counters?: Counters;
  readonly prices?: Prices;
  /** `provider/model` of all that may answer a public model name; the dearest is reckoned with. */
  readonly targetsOf?: (model: string) => readonly string[];
  /** Where a budget's `reroute` leads. Throws model_not_found. */
  readonly findRoute?: (model: string) => Route;
  /** Exact prompt tokens, where somebody can count them: the engine, a provider's tokenizer. */
  readonly countTokens?: (request: ChatRequest, route: Route, signal: AbortSignal) => Promise<number> | undefined;
  /** US dollars spent in a period so far, from the ledger. */
  readonly spent?: (owner: BudgetOwner) => Promise<number>;
  readonly alert?: (alert: BudgetAlert) => void;
  /** Why nothing more may be spent just now (the books cannot be written), for callers with or without a budget. */
  readonly closed?: (budgeted: boolean) => GatewayError | undefined;
  /** Completion tokens to reckon with where the request sets no bound, and to pay for at a time. */
  readonly assumedTokens?: number;
  readonly clock?: Clock;
}

/** What a request was given to spend. */
interface Taken extends Pick<Expectation, 'promptTokens' | 'bounded'> {
  readonly route: Route;
  readonly reserved: Reserved;
}

/** A policy that also tells how its budgets stand. */
export interface PolicyControl extends Policy {
  /** Of budgets that were asked for lately. */
  budgets(): readonly BudgetStatus[];
}

/** Keys, scopes, limits and budgets of one gateway. */
export function createPolicy({
  keyring,
  limits = {},
  budgets = [],
  prices = createPrices(),
  targetsOf = (model) => [model],
  findRoute,
  countTokens,
  spent = async () => 0,
  alert = () => {},
  closed = () => undefined,
  assumedTokens = 256,
  clock = systemClock,
  counters = memoryCounters({ clock }),
}: PolicyOptions): PolicyControl {
  const wall = () => clock.wall();
  const standing = new LRUCache<string, BudgetStatus>({ maxSize: 1000, sizeCalculation: () => 1 });
  const reserve = createReserve({ limits, budgets, counters, prices, spent, alert, wall, standing });

  const countPrompt = async (request: ChatRequest, route: Route, { signal }: RequestContext) => {
    try {
      return (await countTokens?.(request, route, signal)) ?? estimatePromptTokens(request);
    } catch {
      return estimatePromptTokens(request); // the counter's trouble is not the caller's
    }
  };

  const expect = (request: ChatRequest, route: Route, context: RequestContext): Expectation | Promise<Expectation> => {
    const { caller } = context;
    const counts =
      limitsTokens(limits, caller, route.name) || budgetsOf(budgets, caller, route.name, wall()).length > 0;
    const expectation = (promptTokens: number): Expectation => ({
      caller,
      model: route.name,
      targets: targetsOf(route.name),
      promptTokens,
      completionTokens: (request.maxTokens ?? assumedTokens) * request.choices,
      bounded: request.maxTokens !== undefined,
      dialect: request.dialect,
      holder: randomId(''), // not the request id: a client may send one twice, and both hold a place
    });
    return counts ? countPrompt(request, route, context).then(expectation) : expectation(0);
  };

  /** Takes the request's share, on a cheaper route where the budget says so. No promise where nothing is counted. */
  const take = (request: ChatRequest, wanted: Route, context: RequestContext): Taken | Promise<Taken> => {
    const { caller } = context;
    const counted =
      limitClaims(limits, caller, wanted.name, 0, '').length > 0 ||
      budgetsOf(budgets, caller, wanted.name, wall()).length > 0;
    if (counted) return takeCounted(request, wanted, context);
    return { route: wanted, promptTokens: 0, bounded: request.maxTokens !== undefined, reserved: unlimited };
  };

  const takeCounted = async (request: ChatRequest, wanted: Route, context: RequestContext): Promise<Taken> => {
    const expected = await expect(request, wanted, context);
    try {
      return { ...expected, route: wanted, reserved: await reserve(expected) };
    } catch (error) {
      if (!(error instanceof BudgetRefusal)) throw error;
      const { reroute } = error.rule;
      if (reroute === undefined || reroute === wanted.name || !findRoute) throw error.error;
      const route = findRoute(reroute);
      if (!mayUse(route, context.caller)) throw error.error;
      const cheaper = await expect(request, route, context);
      try {
        return { ...cheaper, route, reserved: await reserve(cheaper) };
      } catch (second) {
        throw second instanceof BudgetRefusal ? second.error : second;
      }
    }
  };

  const checkOpen = (context: RequestContext, model: string) => {
    const budgeted = budgetsOf(budgets, context.caller, model, wall()).length > 0;
    const reason = closed(budgeted);
    if (reason) throw reason;
  };

  const admission = (request: ChatRequest, taken: Taken, context: RequestContext): Admission => {
    const { route, bounded, reserved } = taken;
    if (context.signal.aborted) reserved.settle(undefined);
    const promptTokens = () => taken.promptTokens || estimatePromptTokens(request);
    // Bytes that pass through unread cannot be ended with a finish of their own.
    const mayCut = !bounded && Number.isFinite(reserved.paidTokens());
    let meter: Meter | undefined;
    return {
      request: mayCut ? readable(request) : request,
      route,
      headers: reserved.headers,
      meter(events, { target, cache }) {
        const { choices } = request;
        meter = createMeter(events, {
          reserved,
          target,
          cache,
          promptTokens,
          choices,
          bounded,
          stepTokens: assumedTokens,
        });
        // A client that leaves before the first pull never closes the stream; it may have left just now.
        if (context.signal.aborted) meter.close();
        else context.signal.addEventListener('abort', meter, { once: true });
        return meter.events;
      },
      spent: () => meter?.used(),
      release: () => reserved.settle(undefined),
    };
  };

  return {
    authenticate: (headers, asked) => keyring.authenticate(headers, asked),
    open: () => keyring.open(),
    mayUse,
    budgets: () => [...standing.values()],
    admit(asked, wanted, context) {
      try {
        checkScope(wanted, context.caller, context.endpoint);
        checkOpen(context, wanted.name);
        const request = atMost(asked, context.caller.priority);
        const taken = take(request, wanted, context);
        if (!(taken instanceof Promise)) return admission(request, taken, context);
        return taken.then((each) => admission(request, each, context));
      } catch (error) {
        return Promise.reject(error);
      }
    },
    async admitTokens(tokens, wanted, context) {
      checkScope(wanted, context.caller, context.endpoint);
      checkOpen(context, wanted.name);
      const targets = targetsOf(wanted.name);
      const { caller } = context;
      const holder = randomId('');
      const expected = {
        caller,
        model: wanted.name,
        targets,
        promptTokens: tokens,
        completionTokens: 0,
        bounded: true,
        holder,
      };
      let reserved: Reserved;
      try {
        reserved = await reserve(expected);
      } catch (error) {
        throw error instanceof BudgetRefusal ? error.error : error;
      }
      return {
        headers: reserved.headers,
        settle: (used, target = targets[0] ?? wanted.name) =>
          reserved.settle(used > 0 ? { target, usage: { promptTokens: used, completionTokens: 0 } } : undefined),
        release: () => reserved.cancel(),
      };
    },
  };
}

const urgency: readonly Priority[] = ['batch', 'normal', 'interactive'];

/** The request, no more urgent than its caller may be. */
function atMost(request: ChatRequest, highest: Priority | undefined): ChatRequest {
  if (highest === undefined || urgency.indexOf(request.priority) <= urgency.indexOf(highest)) return request;
  return { ...request, priority: highest };
}
