import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { Caller, Decision, RequestContext } from '../core/run.ts';
import { type Direction, reads, rulesOf } from './compile.ts';
import type { FilterConfig, FiltersConfig } from './config.ts';
import { createTally, type Tally } from './decisions.ts';
import { limitLength } from './length.ts';
import { filterEvents, type OutputOptions } from './output.ts';
import { createPlaceholders } from './placeholders.ts';
import { rewriteRequest } from './request-text.ts';
import { changes, compileRules, type Rule, type RuleSet } from './rules.ts';
import { rewriteText } from './whole.ts';

/** Input and output filters of routes. */
export interface Filters {
  /** Runs the route's input filters. Throws content_blocked. A request whose answer must be read comes back `readable`. */
  apply(request: ChatRequest, route: Route, context: RequestContext): Promise<Filtered>;
}

export interface Filtered {
  readonly request: ChatRequest;
  /** The answer's filters, made for this one request. `again` asks for another answer, from another target if there is one. */
  output(events: AsyncIterable<CompletionEvent>, again?: Again): AsyncIterable<CompletionEvent>;
  /** What the filters did so far, on the way in and out; for the request's record. */
  readonly decisions?: () => readonly Decision[];
}

export type Again = () => Promise<AsyncIterable<CompletionEvent> | undefined>;

export const noFilters: Filters = {
  apply: async (request) => ({ request, output: (events) => events }),
};

/** A filter of a route, as one request meets it. */
interface Active {
  readonly name: string;
  readonly config: FilterConfig;
}

/** The filters of a configuration. Routes name them in order; each set of them is compiled once. */
export function createFilters(config: FiltersConfig): Filters {
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

  return {
    async apply(asked, route, context) {
      const active = route.filters.flatMap((name): Active[] => {
        const found = config[name];
        if (!found) throw new GatewayError('internal', `The route '${route.name}' names an unknown filter '${name}'.`);
        return concerns(found, context.caller) ? [{ name, config: found }] : [];
      });
      if (active.length === 0) return { request: asked, output: (events) => events };

      const tally = createTally();
      const inputRules = rulesFor(active, 'input');
      const outputRules = rulesFor(active, 'output');
      const { request, restoring } = inputRules
        ? filterRequest(asked, inputRules, tally)
        : { request: asked, restoring: undefined };
      const limits = active.flatMap(({ name, config: found }) => (found.kind === 'length' ? [{ name, ...found }] : []));
      const rewritten = restoring !== undefined || outputRules !== undefined || limits.length > 0;

      return {
        request: rewritten ? readable(request) : request,
        decisions: tally.decisions,
        output(events, again) {
          const options = (set: RuleSet | undefined): OutputOptions => ({
            choices: request.choices,
            jsonText: request.responseFormat.type === 'json-object' || request.responseFormat.type === 'json-schema',
            dialect: request.dialect,
            ...(set && { onMatch: (rule: Rule) => tally.note(rule.filter, actionOf(rule), 'output', rule.label) }),
          });
          let filtered = events;
          if (outputRules) {
            filtered = filterEvents(filtered, outputRules, { ...options(outputRules), again });
            if (outputRules.rejoins) filtered = filterEvents(filtered, blockingTwin(outputRules), options(undefined));
          }
          for (const { name, characters, shadow } of limits) {
            if (shadow) continue;
            filtered = limitLength(filtered, characters, request.choices, () => tally.note(name, 'length', 'output'));
          }
          return restoring ? filterEvents(filtered, restoring, options(undefined)) : filtered;
        },
      };
    },
  };
}

const actionOf = (rule: Rule): string => (rule.shadow ? `would ${rule.action}` : rule.action);

/** Masks the request's texts; throws content_blocked without a word of them. */
function filterRequest(
  asked: ChatRequest,
  rules: RuleSet,
  tally: Tally,
): { readonly request: ChatRequest; readonly restoring: RuleSet | undefined } {
  const texts: string[] = [];
  if (rules.rules.some((rule) => rule.restorable)) {
    rewriteRequest(asked, (text) => {
      if (/\[[A-Za-z_]+_\d+\]/.test(text)) texts.push(text.toUpperCase());
      return text;
    });
  }
  const placeholders = createPlaceholders((placeholder) => texts.some((text) => text.includes(placeholder)));
  const onMatch = (rule: Rule) => tally.note(rule.filter, actionOf(rule), 'input', rule.label);
  const replace = (rule: Rule, text: string) =>
    rule.restorable ? placeholders.replace(rule, text) : (rule.replacement?.(text) ?? '');
  let changed = false;
  const request = rewriteRequest(asked, (text, json) => {
    const result = rewriteText(rules, text, { json, onMatch, replace });
    if (result.ended) {
      const { rule } = result.ended;
      throw new GatewayError(
        'content_blocked',
        rule.message ?? `The request was refused by the filter '${rule.filter}'.`,
        {
          decisions: tally.decisions(),
        },
      );
    }
    changed ||= result.text !== text;
    return result.text;
  });
  if (Array.isArray(asked.prompt?.text) && rules.rules.some((rule) => changes(rule) || rule.action === 'block')) {
    throw new GatewayError('unsupported', 'A prompt of token ids cannot be filtered; send it as text.', {
      param: 'prompt',
    });
  }
  return changed
    ? { request: readable(request), restoring: placeholders.restoring() }
    : { request: asked, restoring: undefined };
}

/** The same rules, for text that they have replaced already: what joined to a new match ends the answer. */
const twins = new WeakMap<RuleSet, RuleSet>();
function blockingTwin(set: RuleSet): RuleSet {
  let twin = twins.get(set);
  if (!twin) {
    const rules = set.rules.map(
      (rule): Rule => (changes(rule) ? { ...rule, action: 'block' } : { ...rule, shadow: true }),
    );
    twin = { ...set, rules };
    twins.set(set, twin);
  }
  return twin;
}

/** True when a filter is meant for this caller. */
function concerns({ for: only, except }: FilterConfig, caller: Caller): boolean {
  const among = (who: NonNullable<typeof only>) =>
    (who.callers?.some((name) => name === caller.id || name === caller.name) ?? false) ||
    (who.teams?.some((team) => team === caller.team) ?? false) ||
    (who.tags?.some((tag) => caller.tags.includes(tag)) ?? false);
  return (!only || among(only)) && !(except && among(except));
}
