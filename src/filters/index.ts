import { type Clock, systemClock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { Caller, Decision, RequestContext } from '../core/run.ts';
import type { Active } from './active.ts';
import { answerChain } from './answer-chain.ts';
import { type Direction, reads, rulesOf } from './compile.ts';
import type { FilterConfig, FiltersConfig } from './config.ts';
import { createTally } from './decisions.ts';
import { createHoldbackMeter } from './holdback.ts';
import { filterRequest, type InputResult } from './input.ts';
import { type Filtered, type Filters, unfiltered } from './none.ts';
import { type FilterParts, readerOf } from './readers.ts';
import { compileRules, type RuleSet } from './rules.ts';
import { rewriteError } from './whole.ts';

export type { Again } from './active.ts';
export { type Filters, noFilters } from './none.ts';
export type { FilterParts } from './readers.ts';

/** The filters of a configuration. Routes name them in order; each set of them is compiled once, when it is first used. */
export function createFilters(config: FiltersConfig, parts: FilterParts = {}, clock: Clock = systemClock): Filters {
  const compiled = new Map<string, RuleSet | undefined>();
  const rulesFor = (active: readonly Active[], direction: Direction): RuleSet | undefined => {
    const chosen = active.filter((filter) => reads(filter.config, direction));
    const key = `${direction} ${chosen.map(({ name }) => name).join(' ')}`;
    if (!compiled.has(key)) {
      const rules = chosen.flatMap((filter) => rulesOf(filter.name, filter.config));
      compiled.set(key, rules.length > 0 ? compileRules(rules) : undefined);
    }
    return compiled.get(key);
  };
  const filters = new Map<string, Active>();
  for (const [name, filter] of Object.entries(config)) filters.set(name, { name, config: filter });
  const sets = new Map<string, FilterSet>();
  /** The filters of these names that are meant for the caller. */
  const setFor = (names: readonly string[], caller: Caller, route: string): FilterSet => {
    const active: Active[] = [];
    let key = '';
    for (const name of names) {
      const found = filters.get(name);
      if (!found) throw new GatewayError('internal', `The route '${route}' names an unknown filter '${name}'.`);
      if (!concerns(found.config, caller)) continue;
      active.push(found);
      key += `${name} `;
    }
    let set = sets.get(key);
    if (!set) {
      set = { active, input: rulesFor(active, 'input'), output: rulesFor(active, 'output') };
      sets.set(key, set);
    }
    return set;
  };

  const filtered = (asked: ChatRequest, route: Route, context: RequestContext): Filtered | Promise<Filtered> => {
    const { active, input: rules, output } = setFor(route.filters, context.caller, route.name);
    if (active.length === 0) return unfiltered(asked);

    const tally = createTally();
    const { signal } = context;
    const input = filterRequest(asked, active, rules, { tally, parts, signal });
    const answering = ({ request, restoring }: InputResult): Filtered => {
      const found = labelled(request, tally.decisions(), config);
      const readers = (filter: Active) => readerOf(filter.name, filter.config, request, parts);
      const answer = answerChain(active, output, { request: found, restoring }, { tally, signal, readerOf: readers });
      if (!answer) return { request: found, decisions: tally.decisions, output: (events) => events };
      const holdback = createHoldbackMeter(clock.now);
      return {
        request: answer.request,
        decisions: tally.decisions,
        failed: output && refusing(output),
        holdback: holdback.held,
        output: (events, again) => holdback.leave(answer.output(holdback.enter(events), again)),
      };
    };
    return input instanceof Promise ? input.then(answering) : answering(input);
  };

  return {
    apply: (asked, route, context) =>
      route.filters.length === 0 ? unfiltered(asked) : filtered(asked, route, context),
  };
}

const refusing =
  (rules: RuleSet) =>
  (error: unknown): never => {
    throw rewriteError(rules, error);
  };

/** Filters that work together, with the patterns of all of them. */
interface FilterSet {
  readonly active: readonly Active[];
  readonly input: RuleSet | undefined;
  readonly output: RuleSet | undefined;
}

/** What the filters found, for routes that keep such requests at home: each filter's name, and `personal-data`. */
function labelled(request: ChatRequest, decisions: readonly Decision[], config: FiltersConfig): ChatRequest {
  if (decisions.length === 0) return request;
  const names = new Set(decisions.map(({ name }) => name));
  if ([...names].some((name) => config[name]?.kind === 'pii')) names.add('personal-data');
  return { ...request, labels: [...names] };
}

/** True when a filter is meant for this caller. */
function concerns({ for: only, except }: FilterConfig, caller: Caller): boolean {
  const among = (who: NonNullable<typeof only>) =>
    (who.callers?.some((name) => name === caller.id || name === caller.name) ?? false) ||
    (who.teams?.some((team) => team === caller.team) ?? false) ||
    (who.tags?.some((tag) => caller.tags.includes(tag)) ?? false);
  return (!only || among(only)) && !(except && among(except));
}
