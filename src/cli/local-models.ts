import type { Config } from '../config.ts';

/** The models that this configuration runs on this machine, each once. */
export function localModels(config: Config): readonly string[] {
  const targets = Object.values(config.models).flatMap(({ targets }) => targets);
  return [...new Set(targets.flatMap(({ local }) => local ?? []))];
}
