import type { z } from 'zod';
import { GatewayError } from '../core/errors.ts';

/** One fault is all we tell, and a body of a million faults must not cost a million descriptions. Zod has it, its types don't. */
const firstFault: object = { abortEarly: true };

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/**
 * The body as `schema` reads it, or invalid_request with OpenAI's code, words and parameter path; `at` is where in the
 * request the value stands.
 */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: unknown, at: Path = []): z.output<Schema> {
  const result = schema.safeParse(body, firstFault);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw issue
    ? describe(
        issue,
        at,
        at.reduceRight<unknown>((inner, key) => ({ [key]: inner }), body),
      )
    : invalid('', 'invalid_request_error', 'The request body is not valid.');
}

/** `messages[0].content`, as OpenAI writes a parameter. */
export function paramPath(path: Path): string {
  let text = '';
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : text === '' ? String(key) : `.${String(key)}`;
  return text;
}

function describe(issue: Issue, base: Path, body: unknown): GatewayError {
  const path = [...base, ...issue.path];
  const param = paramPath(path);
  const named = param === '' ? 'the request body' : `'${param}'`;
  const value = valueAt(body, path);
  if (value === undefined && param !== '') {
    return missingParameter(param);
  }
  switch (issue.code) {
    case 'invalid_type':
      return invalidType(param, named, [issue.expected], value);
    case 'invalid_value':
      return invalid(
        param,
        'invalid_value',
        `Invalid value for ${named}: ${show(value)}. Supported values are: ${issue.values.map((one) => `'${String(one)}'`).join(', ')}.`,
      );
    case 'too_small':
      return tooSmall(issue, param, named, value);
    case 'too_big':
      return tooBig(issue, param, named, value);
    case 'invalid_key':
      return invalid(param, 'invalid_value', `Invalid key in ${named}: ${issue.issues[0]?.message ?? issue.message}.`);
    case 'invalid_union':
      return describeUnion(issue, path, param, named, value, body);
    default:
      return invalid(param, 'invalid_value', `Invalid value for ${named}: ${issue.message}.`);
  }
}

/** Of a union's branches the one that fits the value's type best speaks; if none fits, all expected types are named. */
function describeUnion(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  path: Path,
  param: string,
  named: string,
  value: unknown,
  body: unknown,
): GatewayError {
  if ('options' in issue && Array.isArray(issue.options)) {
    return invalid(
      param,
      'invalid_value',
      `Invalid value for ${named}: ${show(value)}. Supported values are: ${issue.options.map((one) => `'${String(one)}'`).join(', ')}.`,
    );
  }
  const fitting = issue.errors.filter((branch) => !(branch[0]?.path.length === 0 && branch[0].code === 'invalid_type'));
  // A bound that is broken says more than a type that differs, and of two types the deeper one.
  const rank = ([first]: readonly Issue[]) => (first?.code === 'invalid_type' ? first.path.length : 1000);
  const best = fitting.toSorted((a, b) => rank(b) - rank(a))[0]?.[0];
  if (best) return describe(best, path, body);
  const expected = issue.errors.flatMap((branch) => (branch[0]?.code === 'invalid_type' ? [branch[0].expected] : []));
  return invalidType(
    param,
    named,
    expected.filter((type) => type !== 'null'),
    value,
  );
}

const invalid = (param: string, code: string, message: string): GatewayError =>
  new GatewayError('invalid_request', message, { code, ...(param === '' ? {} : { param }) });

/** A parameter that is there and wrong; `message` tells what to send instead. */
export const invalidValue = (param: string, message: string): GatewayError => invalid(param, 'invalid_value', message);

export const missingParameter = (param: string): GatewayError =>
  invalid(param, 'missing_required_parameter', `Missing required parameter: '${param}'.`);

const article = (noun: string) => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`);
const typeNames: Readonly<Record<string, string>> = { int: 'integer', record: 'object', number: 'number' };

function invalidType(param: string, named: string, expected: readonly string[], value: unknown): GatewayError {
  const wanted = [...new Set(expected)].map((type) => article(typeNames[type] ?? type)).join(' or ');
  return invalid(
    param,
    'invalid_type',
    `Invalid type for ${named}: expected ${wanted}, but got ${article(typeOf(value))} instead.`,
  );
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'decimal';
  return typeof value;
}

/** OpenAI names the field's kind, not the value's: schemas of decimals say so in their message. */
const numberKind = (value: unknown, message: string) =>
  message === 'decimal' || !Number.isInteger(value) ? 'decimal' : 'integer';

function tooSmall(
  issue: Extract<Issue, { code: 'too_small' }>,
  param: string,
  named: string,
  value: unknown,
): GatewayError {
  const { origin, minimum } = issue;
  if (origin === 'array') {
    if (Number(minimum) === 1) {
      return invalid(
        param,
        'empty_array',
        `Invalid ${named}: empty array. Expected an array with minimum length 1, but got an empty array instead.`,
      );
    }
    return invalid(param, 'array_below_min_length', `Invalid ${named}: expected at least ${minimum} elements.`);
  }
  if (origin === 'string') {
    return invalid(
      param,
      'string_below_min_length',
      `Invalid ${named}: expected a string of at least ${minimum} characters.`,
    );
  }
  const bound = issue.inclusive ? '>=' : '>';
  const kind = numberKind(value, issue.message);
  return invalid(
    param,
    `${kind}_below_min_value`,
    `Invalid ${named}: ${kind} below minimum value. Expected a value ${bound} ${minimum}, but got ${show(value)} instead.`,
  );
}

function tooBig(
  issue: Extract<Issue, { code: 'too_big' }>,
  param: string,
  named: string,
  value: unknown,
): GatewayError {
  const { origin, maximum } = issue;
  if (origin === 'array') {
    return invalid(
      param,
      'array_above_max_length',
      `Invalid ${named}: array too long. Expected an array with maximum length ${maximum}.`,
    );
  }
  if (origin === 'string') {
    return invalid(
      param,
      'string_above_max_length',
      `Invalid ${named}: string too long. Expected a string with maximum length ${maximum}.`,
    );
  }
  const bound = issue.inclusive ? '<=' : '<';
  const kind = numberKind(value, issue.message);
  return invalid(
    param,
    `${kind}_above_max_value`,
    `Invalid ${named}: ${kind} above maximum value. Expected a value ${bound} ${maximum}, but got ${show(value)} instead.`,
  );
}

/** Short values only: a message never repeats a prompt. */
function show(value: unknown): string {
  if (typeof value === 'string') return value.length <= 40 ? `'${value}'` : `'${value.slice(0, 40)}…'`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return article(typeOf(value));
}

function valueAt(body: unknown, path: Path): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key]; // own property, checked above
  }
  return value;
}
