import { parse } from 'yaml';
import type { Config } from '../config.ts';
import { ConfigError, parseConfig } from '../config-text.ts';
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
  const written = new Set(file ? leaves(parse(file.text) ?? {}).map(({ path }) => path) : []);
  const fromEnvironment = new Set(
    file ? leaves(parse(file.text) ?? {}).flatMap(({ path, value }) => (/\$\{/.test(String(value)) ? [path] : [])) : [],
  );
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
        value: isSecret(path) || fromEnvironment.has(path) ? '••••••' : JSON.stringify(flags[path] ?? value),
        origin: originOf(path),
      })),
    }),
    async check(text) {
      try {
        await parseConfig(text, 'the text', { env });
        return [];
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        return error.problems.map(problemOf);
      }
    },
  };
}

const secretName = /(^|\.)(api_?key|key|keys|secret|token|password|authorization|credentials|private_?key)(\.|$)/i;
const isSecret = (path: string) => secretName.test(path);

/** Values under names of secrets, and passwords in addresses, do not leave the machine. */
const withoutSecrets = (text: string) =>
  text
    .replace(
      /^(\s*["']?(?:api_?key|secret|token|password|authorization|private_?key)["']?\s*:\s*)(?!\s*["']?\$\{).+$/gim,
      '$1••••••',
    )
    .replace(/((?:api_?key|secret|token|password)["']?\s*:\s*)(?!["']?\$\{)[^,}\s]+/gi, '$1••••••')
    .replace(/(:\/\/[^:/\s@]+:)[^@\s]+@/g, '$1••••••@');

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
