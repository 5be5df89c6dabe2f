import type { Route, Target } from '../core/route.ts';
import type { BackoffLimits } from './backoff.ts';
import type { Facts } from './facts.ts';
import type { Price, Strategy } from './strategies/strategy.ts';
import type { Trial } from './versions.ts';

/** A route and all that serve it. Without `rules` the targets are tried in order, with the usual limits. */
export interface RoutedModel extends Route {
  readonly targets: readonly Target[];
  readonly rules?: RouteRules;
}

/** How a route's targets are chosen among, and what happens when one fails. */
export interface RouteRules {
  readonly tree: RouteNode;
  /** Lighter or dearer targets that serve only when the first ones would be too slow, or fail. */
  readonly overflow: readonly RouteNode[];
  /** Tried after all others have failed. */
  readonly fallback: readonly RouteNode[];
  readonly timeouts: Timeouts;
  readonly retry: RetryRule;
  readonly takeover: TakeoverRule;
  readonly hedge?: HedgeRule;
  readonly objective?: Objective;
  /** All that apply must hold; what they exclude, no fallback, hedge, shadow or takeover reaches. */
  readonly place: readonly PlaceRule[];
  readonly shadow?: ShadowRule;
  readonly classifier?: ClassifierRule;
  readonly health?: HealthRule;
}

export type RouteNode = Leaf | Group;

export interface Leaf {
  readonly kind: 'leaf';
  readonly target: Target;
  /** Its name under `providers:`; replicas share it. The provider's own name if absent. */
  readonly provider?: string;
  readonly weight: number;
  readonly when?: Condition;
  readonly region?: string;
  /** Asked when needed: price tables are loaded late. Undefined where it is not known; a local model costs nothing. */
  readonly price?: () => Price | undefined;
}

export interface Group {
  readonly kind: 'group';
  readonly name: string;
  readonly weight: number;
  readonly when?: Condition;
  readonly strategy: Strategy;
  readonly children: readonly RouteNode[];
  /** This group is a trial of a new version: its two children are the stable one and the candidate. */
  readonly trial?: Trial;
}

/** An expression of the configuration; false when it does not apply to this request. */
export interface Condition {
  readonly source: string;
  holds(facts: Facts): boolean;
}

export interface Timeouts {
  /** 0 is no limit, everywhere here. Absent: a minute, and ten for a local model, which may have to be fetched and loaded. */
  readonly firstTokenMs?: number | undefined;
  /** Absent: half a minute, and ten minutes for a local model, whose batch work may be parked for urgent requests. */
  readonly idleMs?: number | undefined;
  readonly totalMs: number;
}

export interface RetryRule extends BackoffLimits {
  /** Further calls of the same target after the first. */
  readonly attempts: number;
  /** The longest pause that an upstream's `retry-after` is honoured for; a longer one is passed on to the client. */
  readonly longestWaitMs: number;
}

export interface TakeoverRule {
  /** How often one answer may change hands; 0 switches it off. */
  readonly attempts: number;
  /** Delivered text or bytes kept for it; beyond that a break is an error. */
  readonly maxBytes: number;
}

export interface HedgeRule {
  /** Without a first token after so long, the next target is asked too. */
  readonly afterMs: number;
}

export interface Objective {
  readonly ttftMs: number;
  /** Refuse with a true `retry-after` what no target can begin in time; the least urgent first. */
  readonly shed: boolean;
}

export interface PlaceRule {
  readonly when?: Condition;
  readonly local: boolean;
  readonly regions?: readonly string[];
  readonly providers?: readonly string[];
}

export interface ShadowRule {
  readonly target: Leaf;
  /** Share of the requests, 0..1. */
  readonly share: number;
  /** Only while the shadow target has nothing else to do. */
  readonly whenIdle: boolean;
}

export interface ClassifierRule {
  readonly target: Target;
  /** Label → what belongs to it, in words. */
  readonly labels: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface HealthRule {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export const defaultTimeouts: Timeouts = { totalMs: 0 };

/** The limits for one target, where the route sets none. The engine watches over its own hangs. */
export function limitsOf({ firstTokenMs, idleMs }: Timeouts, { provider }: Target) {
  const { local } = provider.capabilities;
  return { firstTokenMs: firstTokenMs ?? (local ? 600_000 : 60_000), idleMs: idleMs ?? (local ? 600_000 : 30_000) };
}

export const defaultRetry: RetryRule = { attempts: 1, baseMs: 100, maxMs: 2000, longestWaitMs: 2000 };
export const defaultTakeover: TakeoverRule = { attempts: 2, maxBytes: 1024 * 1024 };
