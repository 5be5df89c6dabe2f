import type { Dialect } from '../core/request.ts';
import type { Caller, CallerLimits } from '../core/run.ts';
import type { Claim, CounterState } from './counters.ts';

/** Limits by owner. A caller's own limits (of its key) come before the defaults. */
export interface LimitRules {
  readonly defaults?: CallerLimits | undefined;
  readonly teams?: Readonly<Record<string, CallerLimits>> | undefined;
  readonly models?: Readonly<Record<string, CallerLimits>> | undefined;
}

/** What a claim limits, for refusals and headers. */
export interface LimitClaim {
  readonly claim: Claim;
  readonly what: 'requests' | 'tokens' | 'streams';
  /** `this key`, `the team 'a'`, `the model 'b'`. */
  readonly owner: string;
}

const minute = 60_000;
/** How long the place of an answer is kept for a gateway that is not heard of. */
export const leaseMs = minute;

/** The claims of one request of so many tokens, for its key, its team and its model. */
export function limitClaims(
  rules: LimitRules,
  caller: Caller,
  model: string,
  tokens: number,
  holder: string,
): LimitClaim[] {
  const claims: LimitClaim[] = [];
  const add = (limits: CallerLimits | undefined, kind: 'key' | 'team' | 'model', name: string) => {
    if (!limits) return;
    const key = `${kind}:${name}`;
    const owner = kind === 'key' ? 'this key' : `the ${kind} '${name}'`;
    const rate = (what: 'requests' | 'tokens', amount: number, limit: number | undefined) => {
      if (limit === undefined) return;
      const claim = { kind: 'rate' as const, key: `${what}:${key}`, amount, limit, windowMs: minute };
      claims.push({ what, owner, claim });
    };
    rate('requests', 1, limits.requestsPerMinute);
    rate('tokens', tokens, limits.tokensPerMinute);
    if (limits.streams !== undefined) {
      const claim = { kind: 'slots' as const, key: `streams:${key}`, limit: limits.streams, holder, leaseMs };
      claims.push({ what: 'streams', owner, claim });
    }
  };
  add(caller.limits ?? rules.defaults, 'key', caller.id);
  if (caller.team !== undefined) add(own(rules.teams, caller.team), 'team', caller.team);
  add(own(rules.models, model), 'model', model);
  return claims;
}

/** Whether anything is limited by tokens, so that they need to be counted. */
export function limitsTokens(rules: LimitRules, caller: Caller, model: string): boolean {
  const team = caller.team === undefined ? undefined : own(rules.teams, caller.team);
  return (
    (caller.limits ?? rules.defaults)?.tokensPerMinute !== undefined ||
    team?.tokensPerMinute !== undefined ||
    own(rules.models, model)?.tokensPerMinute !== undefined
  );
}

const own = <T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined =>
  record && Object.hasOwn(record, key) ? record[key] : undefined;

/**
 * OpenAI's `x-ratelimit-*` of the tightest limit of each kind; beside them Anthropic's own where its SDKs ask, which
 * look for no others and want a point in time instead of a duration.
 */
export function limitHeaders(
  claims: readonly LimitClaim[],
  states: readonly CounterState[],
  dialect: Dialect | undefined,
  wallMs: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const kind of ['requests', 'tokens'] as const) {
    let tightest: CounterState | undefined;
    for (const [i, { what }] of claims.entries()) {
      const state = states[i];
      if (what === kind && state && (!tightest || state.remaining < tightest.remaining)) tightest = state;
    }
    if (!tightest) continue;
    headers[`x-ratelimit-limit-${kind}`] = String(tightest.limit);
    headers[`x-ratelimit-remaining-${kind}`] = String(Math.max(0, Math.floor(tightest.remaining)));
    headers[`x-ratelimit-reset-${kind}`] = spokenDuration(tightest.resetMs);
    if (dialect !== 'anthropic-messages') continue;
    headers[`anthropic-ratelimit-${kind}-limit`] = String(tightest.limit);
    headers[`anthropic-ratelimit-${kind}-remaining`] = String(Math.max(0, Math.floor(tightest.remaining)));
    const reset = new Date(Math.ceil((wallMs + tightest.resetMs) / 1000) * 1000).toISOString();
    headers[`anthropic-ratelimit-${kind}-reset`] = reset.replace('.000Z', 'Z');
  }
  return headers;
}

/** Durations as OpenAI writes them: `120ms`, `7.5s`, `6m0s`. */
function spokenDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.ceil(ms))}ms`;
  const seconds = Math.ceil(ms / 100) / 10;
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  const rest = `${Math.round((seconds - minutes * 60) * 10) / 10}s`;
  return minutes < 60 ? `${minutes}m${rest}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${rest}`;
}
