import { GatewayError } from '../core/errors.ts';
import { extractJson } from './json-check.ts';

/** Asks one of the gateway's own models with a prompt of the library. The root wires it to routing and prompts. */
export type AskModel = (question: {
  readonly model: string;
  readonly prompt: string;
  readonly variables: Readonly<Record<string, string | readonly string[]>>;
  /** The object that the answer must be: property names, each a number 0..1. */
  readonly scores: readonly string[];
  readonly signal: AbortSignal;
}) => Promise<string>;

/** The scores that a judge gave, 0..1 by name. Throws upstream_failed when its answer holds none. */
export function scoresOf(answer: string, names: readonly string[]): Readonly<Record<string, number>> {
  const json = extractJson(answer);
  const value: unknown = json === undefined ? undefined : JSON.parse(json);
  const given = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}; // numbers are checked below
  const scores: Record<string, number> = {};
  for (const name of names) {
    const score = given[name];
    if (typeof score === 'number' && Number.isFinite(score)) scores[name] = Math.min(1, Math.max(0, score));
    else if (typeof score === 'boolean') scores[name] = score ? 1 : 0;
  }
  if (Object.keys(scores).length === 0) {
    throw new GatewayError('upstream_failed', 'The judge model gave no scores.');
  }
  return scores;
}
