import { isPair, parseDocument, visit } from 'yaml';
import type { Config } from '../config.ts';
import { ConfigError, isSecretField, parseConfig } from '../config-text.ts';
import type { Settings, SettingValue } from '../http/routes/dashboard.ts';

export interface SettingsOptions {
  readonly config: Config;
  /** The file's path and text, where there is one. */
  readonly file?: { readonly path: string; readonly text: string };
  /** What flags decided, by dotted path. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The configuration in force, where each value came from, and a check of other texts. Shows no secrets. */
export function createSettings({ config, file, flags = {}, env }: SettingsOptions): Settings {
  const inFile = file ? leaves(parseDocument(file.text).toJS() ?? {}) : [];
  const written = new Set(inFile.map(({ path }) => path));
  const fromEnvironment = new Set(inFile.filter(({ value }) => /\$\{/.test(String(value))).map(({ path }) => path));
  const originOf = (path: string): SettingValue['origin'] => {
    if (flags[path] !== undefined) return 'flag';
    if (fromEnvironment.has(path)) return 'environment';
    return [...written].some((one) => one === path || path.startsWith(`${one}.`)) ? 'file' : 'default';
  };
  return {
    show: async () => ({
      ...(file && { file: file.path }),
      text: file ? withoutSecrets(file.text) : '',
      values: leaves(config).map(({ path, value }) => ({
        path,
        // What the environment gives may be a secret where it is a text: a number or a switch is none.
        value:
          isSecret(path) || (fromEnvironment.has(path) && typeof value === 'string')
            ? dots
            : withoutPasswords(JSON.stringify(flags[path] ?? value)),
        origin: originOf(path),
      })),
    }),
    async check(text) {
      try {
        // From afar no file is read: that a secret has one is believed.
        await parseConfig(text, 'the text', { env, readFile: () => 'a secret' });
        return [];
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        return error.problems.map(problemOf);
      }
    },
  };
}

const isSecret = (path: string) => isSecretField(path) || path.includes('.headers.');

/** The text of a file without what must not leave the machine; where a secret is read from may be seen. */
function withoutSecrets(text: string): string {
  let shown = text;
  const hidden: (readonly [from: number, to: number])[] = [];
  visit(parseDocument(text), {
    Scalar(key, { range, source = '' }, ancestors) {
      const pairs = ancestors.filter(isPair).map((pair) => String(pair.key));
      if (key === 'key' || !range || !isSecret(pairs.join('.')) || /^file:|\$\{/.test(source)) return;
      hidden.push([range[0], range[0] + text.slice(range[0], range[1]).trimEnd().length]);
    },
  });
  for (const [from, to] of hidden.reverse()) shown = shown.slice(0, from) + dots + shown.slice(to);
  return withoutPasswords(shown).replace(/(#.*(?:key|secret|token|password)["']?\s*:\s*)[^,}\s]+/gi, `$1${dots}`);
}

const dots = '••••••';
const withoutPasswords = (text: string): string => text.replace(/(:\/\/[^:/\s@]+:)[^@\s]+@/g, `$1${dots}@`);

/** `line 3: server.prot: there is no such setting` in its parts. */
function problemOf(problem: string): { line?: number; path: string; message: string } {
  const [, line, path = '', message = problem] = /^(?:line (\d+): )?(?:([\w.[\]-]+): )?(.*)$/s.exec(problem) ?? [];
  return { ...(line !== undefined && { line: Number(line) }), path, message };
}

function leaves(value: unknown, path = ''): { path: string; value: unknown }[] {
  if (typeof value !== 'object' || value === null) return [{ path, value }];
  const entries = Object.entries(value);
  if (entries.length === 0) return path ? [{ path, value }] : [];
  return entries.flatMap(([name, inner]) => leaves(inner, path ? `${path}.${name}` : name));
}
