import { GatewayError } from '../core/errors.ts';
import type { Capabilities, Prediction } from '../core/provider.ts';
import type { ChatRequest, Priority } from '../core/request.ts';
import type { Facts } from './facts.ts';
import type { Leaf, PlaceRule, RouteNode, RouteRules } from './model.ts';
import { circuitOpen, coolingDown, type TargetState, type TargetStates, unavailable } from './state.ts';
import type { Child, Situation } from './strategies/strategy.ts';
import type { Trial, Version } from './versions.ts';

/** Whom a request would ask, in order, and why. Made without sending anything; what serves and what explains is the same. */
export interface Plan {
  readonly targets: readonly Planned[];
  readonly excluded: readonly Excluded[];
  /** Set when no target begins in time and the route sheds: the answer is a 429 with this `retry-after`. */
  readonly shedMs?: number;
  /** The version that a trial chose for this request, where its circuit is open: that counts against it as a failure would. */
  readonly missed?: Planned['trial'];
}

export interface Planned {
  readonly leaf: Leaf;
  /** The way through the route's tree: `weighted 95`, `fallback`. */
  readonly reason: string;
  readonly expectedTtftMs?: number | undefined;
  readonly trial?: { readonly trial: Trial; readonly version: Version } | undefined;
}

export interface Excluded {
  readonly target: string;
  readonly reason: string;
  /** Monotonic milliseconds from which it may be called again, where that is known. */
  readonly retryAtMs?: number;
}

export interface PlanSources {
  readonly states: TargetStates;
  readonly now: number;
  readonly random: () => number;
}

/** The plan for a request, as things stand now. Never throws: with nobody left its `targets` are empty. */
export function planFor(rules: RouteRules, facts: Facts, sources: PlanSources): Plan {
  const only = onlyTarget(rules);
  if (only && !unavailable(sources.states.of(only.target.name), sources.now)) {
    return { targets: [planned(only, 'only target', expectedTtft(only, facts, sources))], excluded: [] };
  }
  const situation: Situation = { ...sources, facts, objectiveMs: rules.objective?.ttftMs };
  const excluded: Excluded[] = [];
  const walk = (node: RouteNode, way: readonly string[], trial?: Planned['trial']): readonly Planned[] => {
    if (node.when && !node.when.holds(facts)) {
      for (const leaf of leavesOf(node))
        excluded.push({ target: leaf.target.name, reason: `not when ${node.when.source}` });
      return [];
    }
    if (node.kind === 'leaf') {
      return [planned(node, way.join(' › ') || 'only target', expectedTtft(node, facts, sources), trial)];
    }
    const children = node.children.map((child) => ({ ...childOf(child, facts, sources), node: child }));
    /** How a child of this node is called on the way to its leaves. */
    const step = (child: RouteNode) =>
      node.trial ? `canary: ${child === node.children[0] ? 'stable' : 'new'} version` : name;
    const name = node.name ? `${node.name}: ${node.strategy.name}` : node.strategy.name;
    return node.strategy
      .rank(children, situation)
      .flatMap((child) =>
        walk(
          child.node,
          node.children.length > 1 ? [...way, step(child.node)] : way,
          node.trial ? { trial: node.trial, version: child.node === node.children[0] ? 'stable' : 'candidate' } : trial,
        ),
      );
  };
  const first = walk(rules.tree, []);
  const overflow = rules.overflow.flatMap((node) => walk(node, ['overflow']));
  const fallback = rules.fallback.flatMap((node) => walk(node, ['fallback']));

  const { ready, shedMs } = inTime(first, overflow, fallback, facts, rules, sources);
  const allowed = unique(ready).filter(({ leaf }) => {
    const reason = breaksPlace(leaf, rules.place, facts);
    if (reason) excluded.push({ target: leaf.target.name, reason });
    return !reason;
  });
  const needs = needsOf(facts.request);
  const lacking = (leaf: Leaf) => needs.filter((need) => !leaf.target.provider.capabilities[need]);
  const able = allowed.filter(({ leaf }) => lacking(leaf).length === 0);
  let missed: Plan['missed'];
  const targets = (able.length > 0 ? able : allowed).filter(({ leaf: { target }, trial }, index) => {
    const out = unavailable(sources.states.of(target.name), sources.now);
    if (out) excluded.push({ target: target.name, reason: out.reason, retryAtMs: out.retryAtMs });
    if (out?.reason === circuitOpen && index === 0) missed = trial;
    return !out;
  });
  if (able.length > 0) {
    for (const { leaf } of allowed) {
      if (!able.some((planned) => planned.leaf === leaf)) {
        excluded.push({ target: leaf.target.name, reason: `has no ${lacking(leaf).join(', ')}` });
      }
    }
  }
  return { targets, excluded, ...(shedMs !== undefined && { shedMs }), ...(missed && { missed }) };
}

const planned = (leaf: Leaf, reason: string, expectedTtftMs: number, trial?: Planned['trial']): Planned => ({
  leaf,
  reason,
  expectedTtftMs: expectedTtftMs > 0 ? expectedTtftMs : undefined,
  trial,
});

/** The target of a route that has one and nothing to decide: no condition, no rule of place, nobody to go to instead. */
function onlyTarget({ tree, overflow, fallback, objective, place }: RouteRules): Leaf | undefined {
  if (overflow.length > 0 || fallback.length > 0 || objective || place.length > 0) return undefined;
  let node: RouteNode = tree;
  while (node.kind === 'group') {
    const [child] = node.children;
    if (!child || node.children.length > 1 || node.when || node.trial) return undefined;
    node = child;
  }
  return node.when ? undefined : node;
}

/** The error when a plan has nobody left, with the time from which somebody may be there. */
export function nobodyLeft(plan: Plan, route: string, now: number): GatewayError {
  const times = plan.excluded.flatMap(({ retryAtMs }) => (retryAtMs === undefined ? [] : [retryAtMs]));
  const reasons = plan.excluded.map(({ target, reason }) => `${target}: ${reason}`).join('; ');
  if (times.length === 0 && plan.excluded.some(({ reason }) => reason.startsWith(placeReason))) {
    return new GatewayError(
      'forbidden',
      `No target of the model '${route}' is in a place that this request may go to (${reasons}).`,
      { param: 'model' },
    );
  }
  // Clients slow down at a 429; a 503 tells them that something is broken.
  const limited =
    times.length > 0 &&
    plan.excluded.every(({ reason, retryAtMs }) => retryAtMs === undefined || reason === coolingDown);
  return new GatewayError(
    limited ? 'upstream_rate_limited' : 'unavailable',
    reasons
      ? `No target of the model '${route}' can answer now (${reasons}).`
      : `No target is configured for the model '${route}'.`,
    times.length > 0 ? { retryAfterMs: Math.max(0, Math.min(...times) - now) } : {},
  );
}

/** How much later than the objective each class may be before it is turned away: the least urgent first. */
const patience: Readonly<Record<Priority, number>> = { batch: 1, normal: 1.5, interactive: 2 };

/** Who would begin too late moves behind those who would not; the overflow steps in only then. */
function inTime(
  first: readonly Planned[],
  overflow: readonly Planned[],
  fallback: readonly Planned[],
  facts: Facts,
  { objective }: RouteRules,
  sources: PlanSources,
): { ready: readonly Planned[]; shedMs?: number } {
  if (!objective) return { ready: [...first, ...overflow, ...fallback] };
  const late = ({ expectedTtftMs = 0 }: Planned) => expectedTtftMs > objective.ttftMs;
  const noted = (planned: Planned) => ({ ...planned, reason: `${planned.reason} (spilled: over the objective)` });
  const prompt = first.filter((planned) => !late(planned));
  const slow = first.filter(late);
  const ready = [
    ...prompt,
    ...overflow.filter((p) => !late(p)),
    ...slow.map(noted),
    ...overflow.filter(late),
    ...fallback,
  ];
  const best = Math.min(...ready.map(({ expectedTtftMs = 0 }) => expectedTtftMs));
  if (!objective.shed || ready.length === 0 || best <= objective.ttftMs * patience[facts.request.priority])
    return { ready };
  // Where nothing is in the way, coming back later helps nobody: the prompt is that long, or what is remembered is old.
  const wait = ({ leaf }: Planned) => queueOf(leaf, facts, sources);
  const free = ready.find((planned) => wait(planned) === 0);
  if (free) return { ready: [free, ...ready] };
  const soonest = Math.min(...ready.map(wait));
  return { ready, shedMs: Math.min(best - objective.ttftMs, soonest) };
}

const placeReason = 'not in an allowed place';

/** Why a rule of place forbids the target, or undefined. */
export function breaksPlace(
  { target, region, provider = target.provider.name }: Leaf,
  place: readonly PlaceRule[],
  facts: Facts,
): string | undefined {
  for (const rule of place) {
    if (rule.when && !rule.when.holds(facts)) continue;
    const { local } = target.provider.capabilities;
    const inside =
      local ||
      (!rule.local &&
        (!rule.regions || (region !== undefined && rule.regions.includes(region))) &&
        (!rule.providers || rule.providers.includes(provider)));
    if (!inside) return `${placeReason}${rule.when ? ` when ${rule.when.source}` : ''}`;
  }
  return undefined;
}

/** What only some targets can do; one that can't is passed over where another can. */
function needsOf(request: ChatRequest): readonly (keyof Capabilities)[] {
  const needs: (keyof Capabilities)[] = [];
  if (request.tools.length > 0) needs.push('tools');
  if (request.messages.some(({ content }) => content.some(({ type }) => type === 'image'))) needs.push('images');
  if (request.messages.some(({ content }) => content.some(({ type }) => type === 'audio'))) needs.push('audio');
  if (request.responseFormat.type === 'json-schema') needs.push('jsonSchema');
  if (request.responseFormat.type === 'grammar') needs.push('grammar');
  if (request.logprobs) needs.push('logprobs');
  if (request.prompt) needs.push('completions');
  if (request.continueFinalMessage) {
    needs.push('prefill');
    if (request.responseFormat.type !== 'text') needs.push('constrainedPrefill');
  }
  return needs;
}

/** All targets below a node, in order. */
export function leavesOf(node: RouteNode): readonly Leaf[] {
  return node.kind === 'leaf' ? [node] : node.children.flatMap(leavesOf);
}

function unique(planned: readonly Planned[]): readonly Planned[] {
  const seen = new Set<string>();
  return planned.filter(({ leaf }) => !seen.has(leaf.target.name) && seen.add(leaf.target.name));
}

function expectedTtft({ target }: Leaf, { request, context }: Facts, { states, now }: PlanSources): number {
  return (
    predictionOf(target.provider.predict?.({ ...request, model: target.model }, context.caller.tenant)) ??
    states.of(target.name).latency.estimate(now)
  );
}

const predictionOf = (prediction: Prediction | undefined) => prediction?.ttftMs;

/** Milliseconds of other work before this request's own; not known of an upstream that is busy. */
function queueOf({ target }: Leaf, { request, context }: Facts, { states }: PlanSources): number {
  const prediction = target.provider.predict?.({ ...request, model: target.model }, context.caller.tenant);
  return prediction?.queueMs ?? (states.of(target.name).inFlight === 0 ? 0 : Number.POSITIVE_INFINITY);
}

const free = { input: 0, output: 0 };

/** A leaf as strategies see it; a group as its leaves together. */
function childOf(node: RouteNode, facts: Facts, sources: PlanSources): Child {
  const leaves = leavesOf(node);
  const states: TargetState[] = leaves.map(({ target }) => sources.states.of(target.name));
  const [first] = leaves;
  const distances = states.map(({ distanceMs }) => distanceMs).filter((ms) => ms !== undefined);
  const price = first?.price?.() ?? (first?.target.provider.capabilities.local ? free : undefined);
  return {
    key: leaves.map(({ target }) => target.name).join('+'),
    weight: node.weight,
    inFlight: states.reduce((sum, state) => sum + state.inFlight, 0),
    inFlightTokens: states.reduce((sum, state) => sum + state.inFlightTokens, 0),
    latencyMs: Math.min(...states.map((state) => state.latency.estimate(sources.now))),
    expectedTtftMs: Math.min(...leaves.map((leaf) => expectedTtft(leaf, facts, sources))),
    ...(distances.length > 0 && { distanceMs: Math.min(...distances) }),
    ...(price && { price }),
  };
}
