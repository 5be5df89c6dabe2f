import { GatewayError } from '../core/errors.ts';
import type { Target } from '../core/route.ts';

/** The vector of a text, from the first target that makes any; throws GatewayError where none does. */
export async function embedWith(
  targets: readonly Target[],
  text: string,
  signal: AbortSignal,
): Promise<readonly number[] | Float32Array> {
  for (const { provider, model } of targets) {
    const answer = await provider.embed?.({ model, inputs: [text], extensions: {} }, { signal });
    const vector = answer?.vectors[0];
    if (vector) return vector;
  }
  throw new GatewayError('unsupported', 'The configured embedding model makes no embeddings.');
}
