import { GatewayError } from '../../src/core/errors.ts';

/** The first `dimensions` of a vector, of unit length again. Throws invalid_request where it has fewer. */
export function shorten<V extends Float32Array | number[]>(vector: V, dimensions: number | undefined): V | number[] {
  if (dimensions === undefined || dimensions === vector.length) return vector;
  if (dimensions > vector.length) {
    throw new GatewayError('invalid_request', `This model's embeddings have ${vector.length} dimensions.`, {
      param: 'dimensions',
    });
  }
  const part = Array.from(vector).slice(0, dimensions);
  const length = Math.hypot(...part) || 1;
  return part.map((value) => value / length);
}
