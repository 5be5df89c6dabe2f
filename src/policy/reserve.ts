import { unref } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Usage } from '../core/event.ts';
import type { Dialect } from '../core/request.ts';
import type { Caller } from '../core/run.ts';
import type { BudgetStatus } from '../core/status.ts';
import type { BudgetOwner, BudgetRule } from './budgets.ts';
import { budgetsOf, dollars, nano } from './budgets.ts';
import type { Change, CounterState, Counters } from './counters.ts';
import { type LimitClaim, type LimitRules, leaseMs, limitClaims, limitHeaders } from './limits.ts';
import type { Prices } from './price.ts';

/** A budget that has reached one of its thresholds. */
export interface BudgetAlert {
  readonly budget: string;
  readonly per: BudgetRule['per'];
  /** Key id, team or model. */
  readonly owner: string;
  readonly usedUsd: number;
  readonly limitUsd: number;
  /** The threshold, 0..1. */
  readonly reached: number;
}

export interface ReserveOptions {
  readonly limits: LimitRules;
  readonly budgets: readonly BudgetRule[];
  readonly counters: Counters;
  readonly prices: Prices;
  /** US dollars spent in a period before this process first counted it. */
  readonly spent: (owner: BudgetOwner) => Promise<number>;
  readonly alert: (alert: BudgetAlert) => void;
  readonly wall: () => number;
  /** Kept up to date with what each budget has spent, by its name and owner. */
  readonly standing?: { set(key: string, status: BudgetStatus): unknown };
}

/** What a request is going to take, as far as one can tell before. */
export interface Expectation {
  readonly caller: Caller;
  readonly model: string;
  /** `provider/model` of all that may answer; the dearest counts. */
  readonly targets: readonly string[];
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Whether the client set the bound itself; else it may be met in part, and the answer is cut where money ends. */
  readonly bounded: boolean;
  readonly holder: string;
  /** Whose headers tell of the limits. */
  readonly dialect?: Dialect;
}

/** What was taken, to be settled exactly once. */
export interface Reserved {
  readonly headers: Readonly<Record<string, string>>;
  /** Completion tokens that the money taken so far pays for; infinite where none is counted. */
  readonly paidTokens: () => number;
  /** Takes money for so many more completion tokens; false where there is none left. */
  extend(tokens: number): Promise<boolean>;
  /** Replaces what was taken by what was used; undefined for nothing. `target`: who answered. */
  settle(used: { readonly target: string; readonly usage: Usage } | undefined): void;
  /** Gives all of it back, as if it had never been asked for. */
  cancel(): void;
  /** Nothing was taken, so nothing needs to be settled. */
  readonly free: boolean;
}

/** Thrown inside the policy: a budget refused, and its rule says what to do then. */
export class BudgetRefusal extends Error {
  readonly rule: BudgetRule;
  readonly error: GatewayError;
  constructor(rule: BudgetRule, error: GatewayError) {
    super(error.message);
    this.rule = rule;
    this.error = error;
  }
}

const minute = 60_000;

/** Takes a request's share of all limits and budgets at once. Throws rate_limited or a BudgetRefusal. */
export function createReserve({ limits, budgets, counters, prices, spent, alert, wall, standing }: ReserveOptions) {
  const initials = new Map<string, Promise<number>>();
  const initialOf = (key: string, owner: BudgetOwner): Promise<number> => {
    let initial = initials.get(key);
    if (!initial) {
      if (initials.size > 50_000) initials.clear();
      initial = spent(owner).then(nano);
      initial.catch(() => initials.delete(key)); // asked again with the next request
      initials.set(key, initial);
    }
    return initial;
  };

  const told = new Set<string>();
  const watch = (key: string, rule: BudgetRule, owner: BudgetOwner, state: CounterState | undefined) => {
    if (!state) return;
    const usedNano = state.limit - state.remaining;
    standing?.set(`${rule.name}:${owner.id}`, {
      owner: owner.id || rule.name,
      usedUsd: dollars(usedNano),
      limitUsd: rule.usd,
      budget: rule.name,
      reached: rule.warnAt.reduce((most, at) => (usedNano >= at * state.limit ? Math.max(most, at) : most), 0),
    });
    for (const reached of rule.warnAt) {
      const id = `${key}@${reached}`;
      if (usedNano < reached * state.limit || told.has(id)) continue;
      if (told.size > 50_000) told.clear();
      told.add(id);
      alert({
        budget: rule.name,
        per: rule.per,
        owner: owner.id,
        usedUsd: dollars(usedNano),
        limitUsd: rule.usd,
        reached,
      });
    }
  };

  const dearest = (targets: readonly string[]) => {
    let prompt = 0;
    let completion = 0;
    for (const target of targets) {
      const unit = prices.perToken(target);
      prompt = Math.max(prompt, unit.prompt);
      completion = Math.max(completion, unit.completion);
    }
    return { prompt, completion };
  };

  return (expected: Expectation): Reserved | Promise<Reserved> => {
    const { caller, model, promptTokens, holder } = expected;
    const asked = promptTokens + expected.completionTokens;
    const claims = limitClaims(limits, caller, model, asked, holder);
    const owed = budgetsOf(budgets, caller, model, wall());
    if (claims.length === 0 && owed.length === 0) return unlimited;
    return reserve(expected, asked, claims, owed);
  };

  async function reserve(
    expected: Expectation,
    asked: number,
    claimed: readonly LimitClaim[],
    owed: ReturnType<typeof budgetsOf>,
  ): Promise<Reserved> {
    const { targets, promptTokens, holder } = expected;
    const limited = claimed.map((claim) => fitted(claim, expected, asked));
    const unit = dearest(targets);
    const paid = unit.prompt > 0 || unit.completion > 0;
    const charged = paid ? owed : [];
    const initial = await Promise.all(owed.map(({ key, owner }) => initialOf(key, owner)));
    const free = limited.every(({ what }) => what === 'requests') && owed.length === 0;

    const take = async (completionTokens: number, withLimits: boolean) => {
      const money = nano((withLimits ? promptTokens * unit.prompt : 0) + completionTokens * unit.completion);
      const budgetClaims = charged.map(({ rule, owner, key }, i) => ({
        kind: 'budget' as const,
        key,
        amount: money,
        limit: nano(rule.usd),
        endsInMs: owner.toMs - wall(),
        initial: initial[i] ?? 0,
      }));
      const claims = [...(withLimits ? limited.map(({ claim }) => claim) : []), ...budgetClaims];
      const taken = await counters.reserve(claims);
      return { ...taken, money, first: claims.length - budgetClaims.length };
    };

    let completionTokens = expected.completionTokens;
    let taken = await take(completionTokens, true);
    if (taken.refused && taken.refused.index >= taken.first && !expected.bounded && unit.completion > 0) {
      // Not enough for what was assumed: take what is there, and let the meter end the answer at the edge.
      const left = Math.min(...taken.states.slice(taken.first).map(({ remaining }) => remaining));
      const affordable = Math.floor((dollars(left) - promptTokens * unit.prompt) / unit.completion);
      if (affordable >= 1 && affordable < completionTokens) {
        completionTokens = affordable;
        taken = await take(completionTokens, true);
      }
    }
    const { first } = taken;
    for (const [i, { rule, owner, key }] of charged.entries()) watch(key, rule, owner, taken.states[first + i]);
    const headers = limitHeaders(limited, taken.states, expected.dialect, wall());
    if (taken.refused) {
      const { index, retryAfterMs } = taken.refused;
      const claim = limited[index];
      if (claim) throw limitError(claim, retryAfterMs, headers);
      throw budgetError(charged[index - first]?.rule, retryAfterMs);
    }

    let paidTokens = charged.length > 0 && unit.completion > 0 ? completionTokens : Number.POSITIVE_INFINITY;
    let takenNano = taken.money;
    let settled = false;
    // By the clock, not by what comes: a model may think for minutes before it says a word.
    const slots = limited.flatMap(({ claim }) => (claim.kind === 'slots' ? [claim] : []));
    const { renew } = counters;
    const beat = () => {
      for (const claim of slots) renew?.(claim);
    };
    const renewing = renew && slots.length > 0 ? setInterval(beat, leaseMs / 3) : undefined;
    if (renewing) unref(renewing);

    const cancel = () => {
      if (settled) return;
      const requests = limited.flatMap(({ claim, what }): Change[] =>
        claim.kind === 'rate' && what === 'requests'
          ? [{ kind: 'rate', key: claim.key, amount: -claim.amount, windowMs: minute }]
          : [],
      );
      settle(undefined);
      settled = true; // also where `settle` had nothing to do
      if (requests.length > 0) void Promise.resolve(counters.settle(taken.at, requests)).catch(() => {}); // as in `settle`
    };
    const settle: Reserved['settle'] = (used) => {
      if (settled || free) return;
      settled = true;
      clearInterval(renewing);
      const tokens = used ? used.usage.promptTokens + used.usage.completionTokens : 0;
      const spentNano = used ? nano(prices.usd(used.target, used.usage) ?? 0) : 0;
      const changes: Change[] = [];
      for (const { claim, what } of limited) {
        if (claim.kind === 'slots') changes.push({ kind: 'slots', key: claim.key, holder });
        else if (claim.kind === 'rate' && what === 'tokens' && tokens !== claim.amount) {
          changes.push({ kind: 'rate', key: claim.key, amount: tokens - claim.amount, windowMs: minute });
        }
      }
      const rest = changes.length;
      const difference = spentNano - takenNano;
      for (const { key, rule } of owed) {
        changes.push({ kind: 'budget', key, amount: difference, limit: nano(rule.usd) });
      }
      if (changes.length === 0) return;
      void Promise.resolve(counters.settle(taken.at, changes)).then(
        (states) => {
          for (const [i, { key, rule, owner }] of owed.entries()) watch(key, rule, owner, states[rest + i]);
        },
        () => {}, // the store is gone; its windows pass by themselves
      );
    };

    return {
      headers,
      free,
      paidTokens: () => paidTokens,
      async extend(tokens) {
        const more = await take(tokens, false);
        if (more.refused) return false;
        if (settled) {
          // The client has left meanwhile, and what it owes is known: nobody else would give this back.
          const back = charged.map(({ key, rule }): Change => {
            return { kind: 'budget', key, amount: -more.money, limit: nano(rule.usd) };
          });
          void Promise.resolve(counters.settle(more.at, back)).catch(() => {}); // as in `settle`
          return false;
        }
        paidTokens += tokens;
        takenNano += more.money;
        return true;
      },
      settle,
      cancel,
    };
  }
}

/** Where nothing is limited and nobody counts money. */
export const unlimited: Reserved = {
  headers: {},
  free: true,
  paidTokens: () => Number.POSITIVE_INFINITY,
  extend: async () => true,
  settle: () => {},
  cancel: () => {},
};

/** A bound that only we assumed never makes a request too large for its limit. */
function fitted(limited: LimitClaim, { bounded }: Expectation, asked: number): LimitClaim {
  const { claim, what, owner } = limited;
  if (what !== 'tokens' || claim.kind !== 'rate' || asked <= claim.limit) return limited;
  if (!bounded) return { ...limited, claim: { ...claim, amount: claim.limit } };
  throw new GatewayError(
    'rate_limited',
    `This request may take ${asked} tokens, and ${owner} may use ${claim.limit} per minute. Shorten the prompt or set a smaller max_tokens.`,
    { type: 'tokens', code: 'request_too_large' },
  );
}

function limitError(
  { claim, what, owner }: LimitClaim,
  retryAfterMs: number,
  headers: Record<string, string>,
): GatewayError {
  const wait = retryAfterMs >= 1000 ? `${Math.ceil(retryAfterMs / 1000)} s` : `${retryAfterMs} ms`;
  const things = (what === 'streams' ? 'answers' : what).slice(0, claim.limit === 1 ? -1 : undefined);
  const limit = `${claim.limit} ${things} ${what === 'streams' ? 'at once' : 'per minute'}`;
  return new GatewayError('rate_limited', `Over the limit of ${owner}: ${limit}. Try again in ${wait}.`, {
    retryAfterMs,
    headers,
    type: what === 'tokens' ? 'tokens' : 'requests',
  });
}

function budgetError(rule: BudgetRule | undefined, retryAfterMs: number): BudgetRefusal | GatewayError {
  const name = rule ? `The budget '${rule.name}' of $${rule.usd} per ${rule.period} is spent` : 'The budget is spent';
  const minutes = Math.ceil(retryAfterMs / 60_000);
  const hours = Math.ceil(minutes / 60);
  const wait = minutes <= 90 ? `${minutes} min` : hours <= 48 ? `${hours} hours` : `${Math.ceil(hours / 24)} days`;
  const error = new GatewayError('budget_exceeded', `${name}. It begins anew in ${wait}.`, { retryAfterMs });
  return rule ? new BudgetRefusal(rule, error) : error;
}
