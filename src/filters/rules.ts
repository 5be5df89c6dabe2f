import { type Automaton, createAutomaton } from './automaton.ts';
import type { Pattern } from './program.ts';

/** What happens to text that matched. `restore` puts the client's own personal data back in place of its placeholder. */
export type Action = 'block' | 'mask' | 'replace' | 'flag' | 'retry' | 'stop' | 'restore';

/** A pattern with what to do about it. */
export interface Rule {
  /** The filter's name in the configuration. */
  readonly filter: string;
  /** What kind of thing it finds: `email`, `phrase`, …; the mask shows it. */
  readonly label: string;
  readonly action: Action;
  readonly match: Pattern['match'];
  /** A further test of the matched text (folded, with its case): a checksum. `before`: up to 32 units in front of it. */
  readonly check?: (text: string, before: string) => boolean;
  /** What stands in the text's place. Gets the text as it was written. */
  readonly replacement?: (text: string) => string;
  /** What the client is told after `block`. */
  readonly message?: string;
  /** The original is put back where the answer repeats its placeholder. */
  readonly restorable?: boolean;
  /** Only recorded, whatever the action says. */
  readonly shadow?: boolean;
  /** A match starts and ends at a word boundary. */
  readonly wholeWords?: boolean;
  /** Expressions of a filter that are alike; see Pattern. */
  readonly group?: string;
}

/** All rules of one route and direction, compiled into one automaton. */
export interface RuleSet {
  readonly rules: readonly Rule[];
  readonly automaton: Automaton;
  /** True where replaced text could become part of another match: the result is then read once more and blocked. */
  readonly rejoins: boolean;
  /** True where a rule may ask for another answer. */
  readonly retries: boolean;
}

/** Whether a match ends the answer, or refuses the request. */
export const ends = (rule: Rule): boolean =>
  !rule.shadow && (rule.action === 'block' || rule.action === 'retry' || rule.action === 'stop');
/** Whether a match is written otherwise. */
export const changes = (rule: Rule): boolean =>
  !rule.shadow && (rule.action === 'mask' || rule.action === 'replace' || rule.action === 'restore');
/** As it is recorded. */
export const actionOf = (rule: Rule): string => (rule.shadow ? `would ${rule.action}` : rule.action);
const holds = (rule: Rule): boolean => ends(rule) || changes(rule);

/** Costs milliseconds for thousands of rules: once for each set, not for each request. */
export function compileRules(rules: readonly Rule[]): RuleSet {
  const automaton = createAutomaton(
    rules.map((rule) => ({
      match: rule.match,
      holds: holds(rule),
      everyStart: rule.check !== undefined,
      group: `${rule.filter} ${rule.group ?? ''}`,
    })),
  );
  const changing = rules.filter((rule) => changes(rule) && rule.action !== 'restore');
  const samples = new Set(changing.map((rule) => rule.replacement?.('') ?? ''));
  const bounded = changing.every((rule) => rule.wholeWords);
  const rejoins = [...samples].some((text) => automaton.canJoin(text, bounded));
  const retries = rules.some(({ action }) => action === 'retry');
  return { rules, automaton, rejoins, retries };
}
