import { type Clock, systemClock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { nearestNames } from '../core/nearest.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Route, Routing } from '../core/route.ts';
import type { RequestContext } from '../core/run.ts';
import { answer } from './answer.ts';
import { classify } from './classify.ts';
import { type AnswerDeps, type DecodeWire, withStory } from './delivery.ts';
import { createDrain } from './drain.ts';
import { type Facts, factsOf } from './facts.ts';
import { startHealthChecks } from './health.ts';
import { defaultRetry, defaultTakeover, defaultTimeouts, type RoutedModel, type RouteRules } from './model.ts';
import { type Opened, Opening, type OpeningDeps } from './opening.ts';
import { breaksPlace, nobodyLeft, type Plan, planFor } from './plan.ts';
import { Scope } from './scope.ts';
import { isFree, type Shadow, type ShadowReport, startShadow } from './shadow.ts';
import { createTargetStates, type TargetStates } from './state.ts';
import { ordered } from './strategies/ordered.ts';
import type { Trial, Verdict, Version } from './versions.ts';
import { callOnce, wholeCall } from './whole-call.ts';

export type { RoutedModel } from './model.ts';

export interface RoutingOptions {
  readonly random?: () => number;
  /** Kept over reloads: the same target stays as healthy and as busy as it is. */
  readonly states?: TargetStates;
  readonly decodeWire?: DecodeWire;
  /** Told what routing decided by itself; must not throw. */
  readonly onEvent?: (event: RoutingEvent) => void;
}

export type RoutingEvent =
  | ({ readonly type: 'verdict' } & Verdict)
  | ({ readonly type: 'shadow' } & ShadowReport)
  | { readonly type: 'health'; readonly target: string; readonly healthy: boolean; readonly detail?: string };

/** Routing as the composition root holds it: with what starts, swaps, explains and ends it. */
export interface RoutingControl extends Routing {
  /** New routes for new requests; running answers keep theirs. Resolves when the last answer of the old ones has ended. */
  replace(models: readonly RoutedModel[]): Promise<void>;
  /** Whom this request would ask, and why; nothing is sent. `label` stands for what a classifier would say. */
  explain(model: string, request: ChatRequest, context: RequestContext, label?: string): Explanation;
  /** No new answers; running ones may end until `limitMs`, then they break with an error event. Gives how many did. */
  drain(limitMs: number): Promise<number>;
  /** What a person or a judge thought of an answer, 0..1; counts in the trial that the request took part in. */
  feedback(requestId: string, score: number): void;
  /** Pings what can be pinged, on routes that ask for it, until the returned function is called. */
  startHealthChecks(): () => void;
  readonly states: TargetStates;
}

export interface Explanation {
  readonly model: string;
  readonly plan: Plan;
  readonly rules: RouteRules;
  readonly facts: Facts;
}

const keptVersions = 10_000;

/** A route without rules: its targets in order, with the usual limits. */
export function rulesOf(model: RoutedModel): RouteRules {
  return (
    model.rules ?? {
      tree: {
        kind: 'group',
        name: '',
        weight: 1,
        strategy: ordered,
        children: model.targets.map((target) => ({ kind: 'leaf', target, weight: 1 })),
      },
      overflow: [],
      fallback: [],
      timeouts: defaultTimeouts,
      retry: defaultRetry,
      takeover: defaultTakeover,
      place: [],
    }
  );
}

/** Routing over these models; `replace` puts others in their place while answers under way end as they began. */
export function createRouting(
  models: readonly RoutedModel[],
  clock: Clock = systemClock,
  { random = Math.random, states = createTargetStates(), decodeWire, onEvent = () => {} }: RoutingOptions = {},
): RoutingControl {
  let current = models;
  let byName = new Map(models.map((model) => [model.name, model]));
  const drain = createDrain();

  /** Our listings for Ollama's clients name each model with that tag, and some apps list there and ask in another dialect. */
  const known = (model: string) => byName.get(model) ?? byName.get(model.replace(/:latest$/, ''));
  const find = (model: string): RoutedModel => {
    const route = known(model);
    if (route) return route;
    const near = nearestNames(model, [...byName.keys()]);
    const hint =
      near.length > 0
        ? ` Did you mean ${near.map((name) => `'${name}'`).join(' or ')}?`
        : ' GET /v1/models lists the names.';
    throw new GatewayError('model_not_found', `The model '${model.slice(0, 200)}' does not exist.${hint}`, {
      param: 'model',
    });
  };
  /** A request that was admitted under the old configuration ends under it. */
  const routed = (route: Route): RoutedModel => ('targets' in route ? (route as RoutedModel) : find(route.name)); // ours carry targets

  const told = (verdict: Verdict | undefined) => {
    if (verdict) onEvent({ type: 'verdict', ...verdict });
  };
  const report: OpeningDeps['report'] = ({ trial }, version, outcome) => told(trial?.trial.record(version, outcome));
  /** Which version answered what, for feedback that comes later. */
  const versions = new Map<string, { readonly trial: Trial; readonly version: Version }>();
  const remember = (requestId: string, trial: { readonly trial: Trial; readonly version: Version }) => {
    versions.set(requestId, trial);
    const oldest = versions.size > keptVersions ? versions.keys().next().value : undefined;
    if (oldest !== undefined) versions.delete(oldest);
  };
  const classified = async (
    classifier: NonNullable<RouteRules['classifier']>,
    rules: RouteRules,
    request: ChatRequest,
    context: RequestContext,
  ): Promise<Facts> => {
    const facts = factsOf(request, context);
    const leaf = { kind: 'leaf', target: classifier.target, weight: 1 } as const;
    if (breaksPlace(leaf, rules.place, facts)) return facts;
    return factsOf(request, context, await classify(classifier, request, context));
  };
  let health: { stop: () => void } | undefined;
  const checkHealth = () => {
    const checked = current.flatMap((model) => {
      const { health: rule } = rulesOf(model);
      return rule ? model.targets.map((target) => ({ target, state: states.of(target.name), rule })) : [];
    });
    const once = [...new Map(checked.map((each) => [each.target.name, each])).values()];
    return startHealthChecks(once, (target, healthy, detail) =>
      onEvent({ type: 'health', target, healthy, ...(detail !== undefined && { detail }) }),
    );
  };

  const planned = (rules: RouteRules, facts: Facts) => planFor(rules, facts, { states, now: clock.now(), random });

  return {
    find,
    nameOf: (model) => known(model)?.name ?? model,
    routes: () => current,
    states,
    async attempt(route, request, context) {
      const model = routed(route);
      const rules = rulesOf(model);
      const { classifier } = rules;
      const facts = classifier ? await classified(classifier, rules, request, context) : factsOf(request, context);
      const plan = avoiding(planned(rules, facts), context.avoid);
      if (plan.missed) told(plan.missed.trial.record(plan.missed.version, { ok: false }));
      if (plan.shedMs !== undefined) throw shed(plan, model.name);
      if (plan.targets.length === 0) throw nobodyLeft(plan, model.name, clock.now());

      const scope = new Scope(context.signal, rules.timeouts.totalMs);
      const leave = drain.enter(scope.abort);
      let shadow: Shadow | undefined;
      const isFiltered = model.filters.length > 0;
      const order = { route: model.name, rules, plan, facts, request, context, signal: scope.signal, isFiltered };
      const deps: AnswerDeps = {
        clock,
        random,
        states,
        decodeWire,
        report,
        watch: rules.shadow && ((event) => shadow?.watch(event)),
        ended: (error) => {
          scope.clear();
          leave();
          shadow?.ended(error);
        },
      };
      const opening = new Opening(order, deps);
      let opened: Opened;
      try {
        opened = await opening.openFirst(plan.targets, request);
      } catch (error) {
        const failure = withStory(toGatewayError(error), opening);
        deps.ended(failure);
        throw failure;
      }
      const run = answer(order, deps, opening, opened);
      const { trial } = opened.planned;
      if (trial) remember(context.requestId, trial);
      const { shadow: rule } = rules;
      if (
        rule &&
        random() < rule.share &&
        !breaksPlace(rule.target, rules.place, facts) &&
        isFree(rule, request, states, clock.now())
      ) {
        const { dialect } = request;
        shadow = startShadow(rule, request, context, facts, run.target, {
          clock,
          states,
          decodeWire: decodeWire && ((bytes) => decodeWire(dialect, bytes)),
          report: (report) => onEvent({ type: 'shadow', ...report }),
        });
      }
      return run;
    },
    async call(route, context, use, labels) {
      const model = routed(route);
      const rules = rulesOf(model);
      const plan = planned(rules, factsOf(wholeCall(model.name, labels), context));
      let last: GatewayError | undefined;
      for (const { leaf } of plan.targets) {
        try {
          const value = await callOnce(leaf.target, states.of(leaf.target.name), rules.timeouts, context, use, clock);
          if (value) return { target: leaf.target.name, value: value.value };
        } catch (error) {
          last = toGatewayError(error);
          if (!last.retryable || context.signal.aborted) throw last;
        }
      }
      if (last) throw last;
      if (plan.targets.length === 0) throw nobodyLeft(plan, model.name, clock.now());
      throw new GatewayError('unsupported', `The model '${model.name}' cannot do this.`, { param: 'model' });
    },
    async replace(next) {
      const running = drain.settled();
      current = next;
      byName = new Map(next.map((model) => [model.name, model]));
      if (health) {
        health.stop();
        health.stop = checkHealth();
      }
      await running;
    },
    explain(name, request, context, label) {
      const model = find(name);
      const rules = rulesOf(model);
      const facts = factsOf(request, context, label); // a classifier would have to be asked
      return { model: model.name, plan: planned(rules, facts), rules, facts };
    },
    drain: (limitMs) => drain.close(limitMs),
    feedback(requestId, score) {
      const known = versions.get(requestId);
      if (known) told(known.trial.record(known.version, { score }));
    },
    startHealthChecks() {
      const checks = { stop: checkHealth() };
      health = checks;
      return () => {
        checks.stop();
        if (health === checks) health = undefined;
      };
    },
  };
}

function shed({ shedMs = 0, targets }: Plan, model: string): GatewayError {
  const best = Math.min(...targets.map(({ expectedTtftMs = 0 }) => expectedTtftMs));
  return new GatewayError(
    'overloaded',
    `The model '${model}' is too busy to begin in time (about ${Math.round(best)} ms); try again later or ask with a higher priority.`,
    { retryAfterMs: shedMs },
  );
}

/** The plan with the targets last whose answer was refused before. */
function avoiding(plan: Plan, avoid: readonly string[] | undefined): Plan {
  if (!avoid) return plan;
  const last = (refused: boolean) => plan.targets.filter(({ leaf }) => avoid.includes(leaf.target.name) === refused);
  return { ...plan, targets: [...last(false), ...last(true)] };
}
