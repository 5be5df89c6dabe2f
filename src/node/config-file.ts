import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { ConfigError, parseConfig } from '../config-text.ts';

/** Reads and checks a configuration file. Rejects with ConfigError. */
export async function loadConfig(file: string, env: Readonly<Record<string, string | undefined>>): Promise<Config> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(file, [error instanceof Error ? error.message : String(error)]);
  }
  return parseConfig(text, file, { env, readFile: (path) => readFileSync(path, 'utf8') });
}
