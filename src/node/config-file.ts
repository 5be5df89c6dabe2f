import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { ConfigError, parseConfig } from '../config-text.ts';
import { reasonOf } from './system-error.ts';

/**
 * Reads and checks a configuration file. Rejects with ConfigError. `again`: it was read before, and an empty file is what
 * a write that failed leaves behind: obeyed, it would take the keys away.
 */
export async function loadConfig(
  file: string,
  env: Readonly<Record<string, string | undefined>>,
  { again = false }: { readonly again?: boolean } = {},
): Promise<Config> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(file, [reasonOf(error)]);
  }
  if (again && text.trim() === '') throw new ConfigError(file, ['it is empty; write {} for what holds without a file']);
  return parseConfig(text, file, { env, readFile: readSecret });
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  }
}
