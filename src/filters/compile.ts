import type { FilterConfig } from './config.ts';
import { type Detector, piiDetectors, piiKinds, readTogether, secretDetectors } from './detectors.ts';
import { profanity } from './profanity.ts';
import type { Rule } from './rules.ts';

export type Direction = 'input' | 'output';

/** What a filter reads when its configuration does not say. */
const defaultOn: Readonly<Record<FilterConfig['kind'], 'input' | 'output' | 'both'>> = {
  patterns: 'both',
  pii: 'both',
  stop: 'output',
  length: 'output',
  json: 'output',
  language: 'output',
  classifier: 'both',
  topics: 'both',
  webhook: 'both',
  confidence: 'output',
  injection: 'input',
  limits: 'input',
};

/** Whether a filter looks at requests, or at answers. */
export function reads(config: FilterConfig, direction: Direction): boolean {
  // A privacy split speaks of what the client sends; the answer only gets its originals back.
  if (config.kind === 'pii' && config.restore) return direction === 'input';
  const on = config.on ?? defaultOn[config.kind];
  return on === 'both' || on === direction;
}

/** The rules that a filter adds to the automaton of its route; none for filters that read whole texts. */
export function rulesOf(name: string, config: FilterConfig): readonly Rule[] {
  if (config.kind === 'stop') {
    return config.sequences.map((sequence) => ({
      filter: name,
      label: 'stop',
      action: 'stop',
      shadow: config.shadow,
      match: { regex: sequence.replace(/[\^$\\.*+?()[\]{}|/]/g, '\\$&') },
    }));
  }
  if (config.kind !== 'patterns' && config.kind !== 'pii') return [];
  const rule = (
    label: string,
    match: Rule['match'],
    wholeWords: boolean,
    { check, group }: Pick<Rule, 'check' | 'group'> = {},
  ): Rule => ({
    filter: name,
    label,
    action: config.action,
    match,
    wholeWords,
    shadow: config.shadow,
    replacement: () => config.replacement ?? `[${label}]`,
    ...(check && { check }),
    ...(group !== undefined && { group }),
    ...(config.message !== undefined && { message: config.message }),
    ...(config.kind === 'pii' && config.restore && { restorable: true }),
  });
  const detected = ({ label, regex, ignoreCase, check }: Detector, group: string): Rule =>
    rule(label, { regex, ignoreCase: ignoreCase ?? false }, true, { ...(check && { check }), group });

  if (config.kind === 'pii')
    return piiKinds
      .filter((kind) => config.kinds.includes(kind))
      .flatMap((kind) => piiDetectors[kind].map((found) => detected(found, readTogether[kind])));
  const presets = typeof config.preset === 'string' ? [config.preset] : (config.preset ?? []);
  return [
    ...(presets.includes('secrets') ? secretDetectors.map((found) => detected(found, found.group ?? 'keys')) : []),
    ...(presets.includes('profanity')
      ? profanity.map((phrase) => rule('profanity', { phrase, wholeWords: true }, true))
      : []),
    ...(config.phrases ?? []).map((phrase) =>
      rule('phrase', { phrase, wholeWords: config.wholeWords }, config.wholeWords),
    ),
    ...(config.expressions ?? []).map((expression) =>
      typeof expression === 'string'
        ? rule('expression', { regex: expression }, false)
        : rule(expression.name ?? 'expression', expression, false),
    ),
  ];
}
