import { GatewayError } from '../src/core/errors.ts';
import { type ModerationResult, noCapabilities, type Provider } from '../src/core/provider.ts';

export interface GuardOptions {
  /** Scores 0..1 by category for one text: from a judge model or a classifier. */
  readonly score: (text: string, signal: AbortSignal) => Promise<Readonly<Record<string, number>>>;
  /** The model name that the answer tells. */
  readonly model: string;
  readonly threshold: number;
}

/** Answers moderations on this machine; can do nothing else. */
export function createGuard({ score, model, threshold }: GuardOptions): Provider {
  return {
    name: 'guard',
    capabilities: noCapabilities,
    // biome-ignore lint/correctness/useYield: a provider that never answers in text
    async *stream() {
      throw new GatewayError('unsupported', 'This model only moderates: POST /v1/moderations.', { param: 'model' });
    },
    async moderate({ inputs }, { signal }) {
      const results: ModerationResult['results'][number][] = [];
      for (const text of inputs) {
        const scores = await score(text, signal);
        const categories = Object.fromEntries(
          Object.entries(scores).map(([name, value]) => [name, value >= threshold]),
        );
        results.push({ flagged: Object.values(categories).some(Boolean), categories, scores });
      }
      return { model, results };
    },
  };
}
