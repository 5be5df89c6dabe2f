import { Ajv } from 'ajv';
import { GatewayError } from '../../core/errors.ts';
import type { Answer } from '../answer.ts';
import type { Checks } from './cases.ts';

/** Asks the judging model whether a statement about an answer is true. */
export type Judge = (statement: string, answer: string) => Promise<boolean>;

/** The checks that an answer fails, in words; empty when it passes. */
export async function failedChecks(
  checks: Checks,
  answer: Answer,
  judge: Judge | undefined,
): Promise<readonly string[]> {
  const text = answer.text.trim();
  const failed: string[] = [];
  const expect = (holds: boolean, what: string) => {
    if (!holds) failed.push(what);
  };
  const { equals, contains, notContains, matches, minWords, maxWords, finish, maxTtftMs, maxTotalMs } = checks;
  if (equals !== undefined)
    expect(
      list(equals).some((one) => one.trim() === text),
      `equals ${quote(list(equals)[0])}`,
    );
  for (const one of list(contains)) expect(has(text, one), `contains ${quote(one)}`);
  for (const one of list(notContains)) expect(!has(text, one), `does not contain ${quote(one)}`);
  if (matches !== undefined) expect(await isMatch(matches, text), `matches ${quote(matches)}`);
  if (checks.json || checks.jsonSchema) {
    const value = jsonIn(text);
    expect(value !== undefined, 'is JSON');
    if (value !== undefined && checks.jsonSchema) {
      const problem = schemaProblem(checks.jsonSchema, value.value);
      expect(problem === undefined, `fits the schema (${problem})`);
    }
  }
  const words = text === '' ? 0 : text.split(/\s+/).length;
  if (minWords !== undefined) expect(words >= minWords, `at least ${minWords} words (${words})`);
  if (maxWords !== undefined) expect(words <= maxWords, `at most ${maxWords} words (${words})`);
  if (finish !== undefined) expect(answer.finishReason === finish, `finish ${finish} (${answer.finishReason})`);
  if (maxTtftMs !== undefined) expect(answer.ttftMs <= maxTtftMs, `first token in ${maxTtftMs} ms`);
  if (maxTotalMs !== undefined) expect(answer.totalMs <= maxTotalMs, `done in ${maxTotalMs} ms`);
  if (checks.judge !== undefined && failed.length === 0) {
    if (!judge) throw new GatewayError('invalid_request', 'A case has "judge": name the judging model with --judge.');
    expect(await judge(checks.judge, text), `judged: ${checks.judge}`);
  }
  return failed;
}

const list = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === 'string' ? [value] : value;
const has = (text: string, part: string): boolean => text.toLowerCase().includes(part.toLowerCase());
const quote = (text = ''): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 39)}…` : text);

async function isMatch(pattern: string, text: string): Promise<boolean> {
  const { RE2JS } = await import('re2js'); // linear time, whatever somebody writes into a case
  return RE2JS.compile(pattern).matcher(text).find();
}

/** The JSON value of an answer, with or without a Markdown fence around it. */
function jsonIn(text: string): { value: unknown } | undefined {
  const fenced = /^```(?:json)?\s*\n([\s\S]*?)\n?```$/.exec(text)?.[1];
  try {
    return { value: JSON.parse(fenced ?? text) };
  } catch {
    return undefined;
  }
}

function schemaProblem(schema: Readonly<Record<string, unknown>>, value: unknown): string | undefined {
  const ajv = new Ajv({ strict: false, allErrors: false });
  return ajv.validate(schema, value) ? undefined : ajv.errorsText(ajv.errors);
}
