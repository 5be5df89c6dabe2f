import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { ConfigError, parseConfig } from '../config-text.ts';
import { reasonOf } from './system-error.ts';

/** Reads and checks a configuration file. Rejects with ConfigError. */
export async function loadConfig(file: string, env: Readonly<Record<string, string | undefined>>): Promise<Config> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(file, [reasonOf(error)]);
  }
  return parseConfig(text, file, { env, readFile: readSecret });
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  }
}
