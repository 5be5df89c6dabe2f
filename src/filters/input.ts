import { GatewayError } from '../core/errors.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { Active } from './active.ts';
import { reads } from './compile.ts';
import type { FilterConfig } from './config.ts';
import type { Tally } from './decisions.ts';
import { overLimit } from './limits.ts';
import { createPace, sliceUnits } from './pace.ts';
import { createPlaceholders, type Placeholders } from './placeholders.ts';
import { type FilterParts, readerOf } from './readers.ts';
import { rewriteRequest, textsOf, withTexts } from './request-text.ts';
import { actionOf, changes, compileRules, ends, type Rule, type RuleSet } from './rules.ts';
import { shadowed, type Verdict } from './verdict.ts';
import { rewriteLongText, rewriteText } from './whole.ts';

export interface InputResult {
  readonly request: ChatRequest;
  /** Rules that put the client's own data back into the answer. */
  readonly restoring: RuleSet | undefined;
}

interface InputTools {
  readonly tally: Tally;
  readonly parts: FilterParts;
  readonly signal: AbortSignal;
}

/**
 * A request's filters in order of what they cost and what they may see: limits, then patterns and personal data, and
 * only then whatever asks a model or another service, which so never gets what was masked. Throws content_blocked
 * without a word of the text. No promise where there is nothing to do.
 */
export function filterRequest(
  given: ChatRequest,
  active: readonly Active[],
  rules: RuleSet | undefined,
  tools: InputTools,
): InputResult | Promise<InputResult> {
  // What no filter can read does not pass one.
  const unsaid = given.leftOut || (given.onlyAsSent && !given.onlyAsSent.inAnswer);
  const unread = unsaid && active.some(({ config }) => reads(config, 'input'));
  const asked = unread ? readable(given) : given;
  const passes = active.every(({ config }) => hasNoSay(config, asked)) && (!rules || isClean(asked, rules));
  return passes ? { request: asked, restoring: undefined } : throughAll(asked, active, rules, tools);
}

/** True of a filter that, patterns aside, lets this request pass as it is, and need not wait to know that. */
function hasNoSay(config: FilterConfig, asked: ChatRequest): boolean {
  if (config.kind === 'limits') return overLimit(asked, config) === undefined;
  if (!reads(config, 'input')) return true;
  return config.kind === 'patterns' || (config.kind === 'pii' && !hasNames(config));
}

/** True where no pattern is in any text; false too where they are too long to read at once. */
function isClean(asked: ChatRequest, rules: RuleSet): boolean {
  const texts = everyText(asked);
  const length = texts.reduce((sum, { text }) => sum + text.length, 0);
  if (Array.isArray(asked.prompt?.text) || length > sliceUnits) return false;
  let clean = true;
  const onMatch = () => {
    clean = false;
  };
  return texts.every(({ text, json }) => rewriteText(rules, text, { json, onMatch }).text === text && clean);
}

async function throughAll(
  asked: ChatRequest,
  active: readonly Active[],
  rules: RuleSet | undefined,
  { tally, parts, signal }: InputTools,
): Promise<InputResult> {
  const refuse = (name: string, config: FilterConfig | undefined, message?: string): never => {
    const words = config?.message ?? message ?? `The request was refused by the filter '${name}'.`;
    throw new GatewayError('content_blocked', words, { decisions: tally.decisions() });
  };
  for (const { name, config } of active) {
    const problem = config.kind === 'limits' ? overLimit(asked, config) : undefined;
    if (problem === undefined) continue;
    tally.note(name, config.shadow ? 'would block' : 'block', 'input', problem);
    if (!config.shadow) refuse(name, config, `The request has ${problem}.`);
  }

  const placeholders =
    rules || active.some(({ config }) => hasNames(config)) ? createPlaceholders(takenIn(asked)) : undefined;
  let request = asked;
  const scan = async (set: RuleSet) => {
    const rewritten = await scanRequest(request, set, placeholders, tally);
    if (rewritten.ended) refuse(rewritten.ended.filter, undefined, rewritten.ended.message);
    request = rewritten.request;
  };
  for (const { name, config } of active) {
    if (hasNames(config) && config.kind === 'pii' && reads(config, 'input')) {
      const set = await namedRules(name, config, request, parts, signal);
      if (set) await scan(set);
    }
  }
  if (rules) await scan(rules);

  for (const { name, config } of active) {
    const reader = reads(config, 'input') ? readerOf(name, config, request, parts) : undefined;
    if (!reader?.readRequest) continue;
    const found = await reader.readRequest(textsOf(request), signal);
    const verdict: Verdict = config.shadow ? shadowed(found) : found;
    if (verdict.action === 'pass') continue;
    tally.note(name, verdict.action, 'input', verdict.detail);
    if (verdict.action === 'replace') request = readable(withTexts(request, verdict.texts));
    else if (verdict.action !== 'flag') refuse(name, config, verdict.message);
  }
  return { request, restoring: placeholders?.restoring() };
}

/** The rules over every text of the request; the same request where nothing changed. */
async function scanRequest(asked: ChatRequest, rules: RuleSet, placeholders: Placeholders | undefined, tally: Tally) {
  if (Array.isArray(asked.prompt?.text) && rules.rules.some((rule) => changes(rule) || ends(rule))) {
    const message = 'A prompt of token ids cannot be filtered; send it as text.';
    throw new GatewayError('unsupported', message, { param: 'prompt' });
  }
  const onMatch = (rule: Rule) => tally.note(rule.filter, actionOf(rule), 'input', rule.label);
  const replace = (rule: Rule, text: string) =>
    rule.restorable && placeholders ? placeholders.replace(rule, text) : (rule.replacement?.(text) ?? '');
  let changed = false;
  let ended: Rule | undefined;
  const pace = createPace();
  const rewritten: string[] = [];
  for (const { text, json } of everyText(asked)) {
    const result = await rewriteLongText(rules, text, pace, { json, onMatch, replace });
    ended ??= result.ended?.rule;
    changed ||= result.text !== text;
    rewritten.push(result.text);
    if (ended) return { request: asked, ended }; // refused anyway
  }
  if (!changed) return { request: asked, ended };
  let at = 0;
  return { request: readable(rewriteRequest(asked, (text) => rewritten[at++] ?? text)), ended };
}

/** All that `rewriteRequest` would change, in its order. */
function everyText(request: ChatRequest): readonly { readonly text: string; readonly json: boolean }[] {
  const texts: { text: string; json: boolean }[] = [];
  rewriteRequest(request, (text, json) => {
    texts.push({ text, json });
    return text;
  });
  return texts;
}

/** Placeholders that the client's own texts hold already: they must not turn into somebody's data. */
function takenIn(request: ChatRequest): (placeholder: string) => boolean {
  const texts = everyText(request)
    .filter(({ text }) => /\[[A-Za-z_]+_\d+\]/.test(text))
    .map(({ text }) => text.toUpperCase());
  return (placeholder) => texts.some((text) => text.includes(placeholder));
}

const hasNames = (config: FilterConfig): boolean =>
  config.kind === 'pii' && config.ner !== undefined && config.ner !== false;

/** Names and places that the local model finds in this request, as phrases of their own. */
async function namedRules(
  name: string,
  config: Extract<FilterConfig, { kind: 'pii' }>,
  request: ChatRequest,
  { entities }: FilterParts,
  signal: AbortSignal,
): Promise<RuleSet | undefined> {
  if (!entities) throw new GatewayError('internal', `The filter '${name}' needs a model for names, which is not here.`);
  const { model, threshold } = typeof config.ner === 'object' ? config.ner : { model: undefined, threshold: 0.8 };
  const found = new Map<string, string>();
  for (const text of textsOf(request)) {
    for (const entity of await entities(model, text, signal)) {
      if (entity.score >= threshold && entity.text.trim().length > 1) found.set(entity.text.trim(), entity.label);
    }
  }
  if (found.size === 0) return undefined;
  return compileRules(
    [...found].map(([phrase, label]) => ({
      filter: name,
      label,
      action: config.action,
      match: { phrase, wholeWords: true },
      wholeWords: true,
      shadow: config.shadow,
      restorable: config.restore,
      replacement: () => config.replacement ?? `[${label}]`,
    })),
  );
}
