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
      originals.set(placeholder, text);
      return placeholder;
    },
    restoring() {
      if (originals.size === 0) return undefined;
      return compileRules(
        [...originals].map(([placeholder, original]) => ({
          filter: 'restore',
          label: foldText(placeholder),
          action: 'restore',
          match: { phrase: placeholder },
          replacement: () => original,
        })),
      );
    },
  };
}
