import { Environment } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import { once } from '../core/once.ts';
import type { Facts } from './facts.ts';
import { lastUserText } from './facts.ts';
import type { Condition } from './model.ts';

/** An expression that can't be used; the message says where and why. */
export class ConditionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConditionError';
  }
}

const mostCharacters = 2000;
const mostText = 16_384;

/** Patterns are the operator's, texts the client's: a linear engine, so that no text can make a pattern slow. */
const patterns = new Map<string, RE2JS>();
const found = (text: string, pattern: string): boolean => {
  let compiled = patterns.get(pattern);
  if (!compiled) {
    compiled = RE2JS.compile(pattern);
    if (patterns.size >= 256) patterns.clear();
    patterns.set(pattern, compiled);
  }
  return compiled.matcher(text).find();
};

// CEL, because it is no programming language: no loops but over given lists, no functions but these, no eval anywhere.
const environment = once(() =>
  new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: 300, maxDepth: 32, maxListElements: 200, maxMapEntries: 32, maxCallArguments: 8 },
  })
    .registerVariable('request', 'map', { description: 'model, text, promptTokens, maxTokens, tools, images, json, …' })
    .registerVariable('metadata', 'map', { description: "the client's metadata" })
    .registerVariable('headers', 'map', { description: 'x-tidegate-… request headers' })
    .registerVariable('caller', 'map', { description: 'id, name, team, tags, role' })
    .registerVariable('language', 'string')
    .registerVariable('label', 'string', { description: "the classifier's" })
    .registerFunction('string.found(string): bool', (text: string, pattern: string) => found(text, pattern)),
);

/**
 * Compiles an expression such as `request.promptTokens > 4000 && caller.team == "red"`. Throws ConditionError.
 * A field that a request does not have makes the whole condition false, never an error for the client.
 */
export function compileCondition(source: string): Condition {
  if (source.length > mostCharacters) throw new ConditionError(`the expression is longer than ${mostCharacters}`);
  let program: ReturnType<Environment['parse']>;
  try {
    program = environment().parse(source);
    const { valid, type, error } = program.check();
    if (!valid) throw error ?? new Error('wrong types');
    if (type !== 'bool' && type !== 'dyn') throw new Error(`it gives ${type}, not true or false`);
  } catch (error) {
    throw new ConditionError(`'${source}': ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
  }
  refuseCostly(program.ast, 0, source);
  return {
    source,
    holds(facts) {
      try {
        return program(variables(facts)) === true;
      } catch {
        return false; // a field that is not there
      }
    },
  };
}

interface Ast {
  readonly op: string;
  readonly args: unknown;
}

/** `matches` runs JavaScript's backtracking engine, and a loop in a loop is quadratic in what a client sends. */
function refuseCostly(node: unknown, loops: number, source: string): void {
  if (Array.isArray(node)) {
    for (const part of node) refuseCostly(part, loops, source);
    return;
  }
  if (typeof node !== 'object' || node === null || !('op' in node)) return;
  const { op, args } = node as Ast; // every node of the parser has both
  if (op === 'rcall' && Array.isArray(args)) {
    const name: unknown = args[0];
    if (name === 'matches') throw new ConditionError(`'${source}': write text.found("pattern") instead of matches`);
    const isLoop = ['all', 'exists', 'exists_one', 'map', 'filter'].includes(String(name));
    if (isLoop && loops > 0) throw new ConditionError(`'${source}': a loop inside a loop is not allowed`);
    refuseCostly(args[1], loops, source);
    refuseCostly(args.slice(2), loops + (isLoop ? 1 : 0), source);
    return;
  }
  refuseCostly(args, loops, source);
}

function variables(facts: Facts): Record<string, unknown> {
  const { request, context } = facts;
  const { caller } = context;
  let asked: Record<string, unknown> | undefined;
  return {
    get request() {
      asked ??= {
        model: request.model,
        text: lastUserText(request).slice(0, mostText),
        promptTokens: BigInt(facts.promptTokens),
        maxTokens: BigInt(Math.trunc(request.maxTokens ?? 0)),
        messages: BigInt(request.messages.length),
        tools: request.tools.slice(0, 128).map(({ name }) => name),
        images: request.messages.some(({ content }) => content.some(({ type }) => type === 'image')),
        json: request.responseFormat.type.startsWith('json'),
        stream: request.stream,
        priority: request.priority,
        temperature: request.sampling.temperature ?? 1,
        user: request.user ?? '',
        labels: request.labels ?? [],
        reasoning: request.reasoning?.effort ?? '',
        serviceTier: request.serviceTier ?? '',
        dialect: request.dialect,
        endpoint: context.endpoint,
      };
      return asked;
    },
    metadata: request.metadata ?? {},
    headers: context.headers,
    caller: {
      id: caller.id,
      name: caller.name ?? '',
      team: caller.team ?? '',
      tags: caller.tags,
      role: caller.role,
    },
    get language() {
      return facts.language;
    },
    label: facts.label,
  };
}
