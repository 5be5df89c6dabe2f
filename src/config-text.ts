import { type Document, isMap, isPair, LineCounter, parseDocument, type Scalar, visit } from 'yaml';
import type { z } from 'zod';
import { type Config, configSchema } from './config.ts';
import { nearestNames } from './core/nearest.ts';

/** A configuration that can't be used: each problem names its line and field. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(file: string, problems: readonly string[]) {
    super(`${file} can't be used:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Where `${…}` in the text is filled in from; only roots have these. */
export interface Secrets {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For `${file:PATH}`, and `file:PATH` as the whole of a secret; absent where there are no files. */
  readonly readFile?: (path: string) => string;
}

const secretName = /(key|secret|token|password|authorization|credentials|pepper)$/i;

/** Whether a setting of this name holds a secret: its value may be read from a file, and is never shown. */
export const isSecretField = (name: string): boolean => secretName.test(name);

/** Checks a configuration's text. Rejects with ConfigError with lines and fields; `name` is what the error calls it. */
export async function parseConfig(text: string, name: string, secrets: Secrets): Promise<Config> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number | undefined) => (offset === undefined ? '' : `line ${lines.linePos(offset).line}: `);
  const problems = document.errors.map(({ code, message, pos }) => {
    const told = code === 'MULTIPLE_DOCS' ? 'a second document begins here; a configuration is one' : message;
    return `${lineAt(pos[0])}${told}`;
  });
  if (problems.length > 0) throw new ConfigError(name, problems);

  const filled = new Set<unknown>();
  visit(document, {
    Scalar(_key, node, path) {
      if (typeof node.value !== 'string') return;
      const pair = path.at(-1);
      const isFile = node.value.startsWith('file:') && isPair(pair) && isSecretField(String(pair.key));
      if (!isFile && !node.value.includes('${')) return;
      try {
        node.value = fillIn(isFile ? `\${${node.value}}` : node.value, secrets);
        filled.add(node);
      } catch (error) {
        problems.push(`${lineAt(node.range?.[0])}${error instanceof Error ? error.message : String(error)}`);
      }
    },
  });
  if (problems.length > 0) throw new ConfigError(name, problems);

  const read = (): unknown => {
    try {
      return document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      throw new ConfigError(name, [error instanceof Error ? error.message : String(error)]); // aliases without end
    }
  };
  const check = () => configSchema().safeParseAsync(read() ?? {});
  let result = await check();
  if (!result.success && readAsValues(document, filled, result.error.issues)) result = await check();
  if (result.success) return result.data;
  const lineOf = (path: readonly PropertyKey[]): string => {
    for (let length = path.length; length > 0; length--) {
      const parent = document.getIn(path.slice(0, length - 1), true);
      const pair = isMap(parent) ? parent.items.find(({ key }) => String(key) === String(path[length - 1])) : undefined;
      const node = (pair?.key ?? document.getIn(path.slice(0, length), true)) as
        | { range?: readonly number[] }
        | undefined;
      if (node?.range) return lineAt(node.range[0]);
    }
    return '';
  };
  throw new ConfigError(
    name,
    result.error.issues.flatMap((issue) => describe(issue, lineOf, document.getIn(issue.path))),
  );
}

/**
 * What is filled in is text; where that is refused and it reads as a number, `true` or `false`, it becomes that. Only the
 * schema can tell: a key of digits stays a text, and a port is none. Says whether anything changed.
 */
function readAsValues(document: Document, filled: ReadonlySet<unknown>, issues: readonly z.core.$ZodIssue[]): boolean {
  let changed = false;
  for (const { path } of issues) {
    const node = document.getIn(path, true) as Scalar | undefined; // what is in the set is one
    if (!filled.has(node) || !node || !/^(-?\d+(\.\d+)?|true|false)$/.test(String(node.value))) continue;
    node.value = JSON.parse(String(node.value)) as number | boolean;
    changed = true;
  }
  return changed;
}

function describe(
  issue: z.core.$ZodIssue,
  lineOf: (path: readonly PropertyKey[]) => string,
  given: unknown,
): readonly string[] {
  const field = issue.path.map(String).join('.');
  if (issue.code !== 'unrecognized_keys') {
    return [`${lineOf(issue.path)}${field || 'the file'}: ${notAmong(issue, given) ?? messageOf(issue)}`];
  }
  const known = knownKeys(issue.path);
  return issue.keys.map((key) => {
    const hint = hintOf(key, known, 20);
    return `${lineOf([...issue.path, key])}${[...issue.path.map(String), key].join('.')}: there is no such setting${hint}`;
  });
}

function hintOf(name: unknown, known: readonly string[], most: number): string {
  const near = typeof name === 'string' ? nearestNames(name, known, 1)[0] : undefined;
  const few = known.length > 0 && known.length <= most;
  return near ? `; did you mean '${near}'?` : few ? `; known are ${known.join(', ')}` : '';
}

/** Of a word that is none of the few that are known, the one that was meant. The word itself may be a secret gone astray. */
function notAmong(issue: z.core.$ZodIssue, given: unknown): string | undefined {
  const ofKind = issue.code === 'invalid_union' && 'options' in issue ? issue.options : undefined;
  const options = issue.code === 'invalid_value' ? issue.values : (ofKind ?? []);
  const known = options.filter((option) => typeof option === 'string');
  if (known.length < 2) return undefined;
  if (given === undefined) return `it is missing; known are ${known.join(', ')}`;
  const what = issue.path.at(-1);
  return `there is no such ${typeof what === 'string' ? what : 'value'}${hintOf(given, known, 50)}`;
}

/** Of what may be one of several things, what each of them wants: zod says only that none fits. */
function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => message).join('; ');
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return 'it is missing';
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return issue.message;
  return [...new Set(issue.errors.flatMap(([first]) => (first ? [messageOf(first)] : [])))].join('; or ');
}

/** The names the schema knows at a path, for "did you mean". */
function knownKeys(path: readonly PropertyKey[]): readonly string[] {
  type Json = {
    properties?: Record<string, Json>;
    additionalProperties?: Json | boolean;
    items?: Json;
    oneOf?: Json[];
    $ref?: string;
    $defs?: Record<string, Json>;
  };
  const root = configSchema().toJSONSchema({ io: 'input', unrepresentable: 'any' }) as Json;
  // Targets hold targets, so the schema refers to itself.
  const resolved = (schema: Json | undefined) =>
    schema?.$ref === undefined ? schema : root.$defs?.[schema.$ref.replace('#/$defs/', '')];
  let node: Json | undefined = root;
  for (const key of path) {
    node = resolved(
      node?.properties?.[String(key)] ??
        node?.items ??
        (typeof node?.additionalProperties === 'object' ? node.additionalProperties : undefined),
    );
  }
  const kinds = node?.oneOf ?? (node ? [node] : []); // which kind of provider or filter it is the path does not tell
  const keys = kinds.flatMap((kind) => Object.keys(resolved(kind)?.properties ?? {}));
  return [...new Set(keys)].filter((key) => key !== '$schema');
}

/** `${NAME}`, `${env:NAME}`, `${NAME:-default}` and `${file:/run/secrets/x}`. Throws where a name is not set. */
function fillIn(text: string, { env, readFile }: Secrets): string {
  return text.replace(/\$\{([^}]+)\}/g, (_, name: string) => {
    if (name.startsWith('file:')) {
      if (!readFile) throw new Error('there are no files here; use a secret of the environment');
      return readFile(name.slice('file:'.length)).trim();
    }
    const [key = '', fallback] = name.replace(/^env:/, '').split(/:-/, 2);
    const value = (env[key] || fallback) ?? env[key]; // what is set and empty counts as not set, as in a shell
    if (value === undefined)
      throw new Error(`the environment variable ${key} is not set; set it, or write \${${key}:-default}`);
    return value.trim(); // as of a file: many a secret ends in a line break
  });
}
