import { LRUCache } from 'lru-cache';
import { foldText } from './fold.ts';
import { compileRules, type Rule, type RuleSet } from './rules.ts';

/**
 * Personal data of one request and what stands for it: `[EMAIL_1]`. The same value always gets the same placeholder,
 * numbered by first appearance, so a conversation sent again reads the same. Lives as long as the request.
 */
export interface Placeholders {
  replace(rule: Rule, text: string): string;
  /** Rules that turn placeholders back; undefined when nothing was replaced. */
  restoring(): RuleSet | undefined;
}

/** `taken`: true when the client's own text already holds a placeholder, which must not be turned into data. */
export function createPlaceholders(taken: (placeholder: string) => boolean): Placeholders {
  const byValue = new Map<string, string>();
  const originals = new Map<string, string>();
  const counts = new Map<string, number>();
  return {
    replace(rule, text) {
      const key = `${rule.label} ${text}`;
      const known = byValue.get(key);
      if (known !== undefined) return known;
      const label = rule.label.toUpperCase().replaceAll('-', '_');
      let count = counts.get(label) ?? 0;
      let placeholder: string;
      do placeholder = `[${label}_${++count}]`;
      while (taken(placeholder));
      counts.set(label, count);
      byValue.set(key, placeholder);
      originals.set(folded(placeholder), text);
      return placeholder;
    },
    restoring() {
      if (originals.size === 0) return undefined;
      const set = placeholdersOf([...counts.keys()].sort());
      const replacement = (text: string) => originals.get(folded(text)) ?? text;
      return { ...set, rules: set.rules.map((rule) => ({ ...rule, replacement })) };
    },
  };
}

const folded = (placeholder: string): string => foldText(placeholder).toLowerCase();

const compiled = new LRUCache<string, RuleSet>({ max: 100 });

/** Finds every placeholder of these labels: one expression for all, as a request may hold a hundred thousand addresses. */
function placeholdersOf(labels: readonly string[]): RuleSet {
  const names = labels.map((label) => label.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|');
  let set = compiled.get(names);
  if (!set) {
    const regex = `\\[(?:${names})_[0-9]{1,7}\\]`;
    set = compileRules([
      { filter: 'restore', label: 'restore', action: 'restore', match: { regex, ignoreCase: true } },
    ]);
    compiled.set(names, set);
  }
  return set;
}
