/**
 * A Claude model's generation by its name, as hundreds and ones: 406 for `claude-opus-4-6`, also behind a prefix such as
 * Bedrock's. The newest for one without a number (`claude-mythos-preview`), 0 for other makers' models.
 */
export function claudeGeneration(model: string): number {
  const name = /claude-(.+)/.exec(model)?.[1];
  if (name === undefined) return 0;
  const [, major, minor = '0'] = /(?:^|-)(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/.exec(name) ?? [];
  return major === undefined ? Number.POSITIVE_INFINITY : Number(major) * 100 + Number(minor);
}

/** From here on a model is told to think by an effort, and after it refuses budgets and samplers (docs: adaptive thinking). */
export const adaptiveSince = 406;
