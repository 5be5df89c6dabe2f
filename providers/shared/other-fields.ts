import { GatewayError } from '../../src/core/errors.ts';
import type { Json, JsonObject } from '../../src/core/json.ts';

/** Fields of vLLM, llama-server, TEI, Jina, Mistral and Cohere that make other vectors, with the value that is meant anyway. */
const changing: ReadonlyMap<string, Json | undefined> = new Map<string, Json | undefined>([
  ['normalize', true],
  ['embd_normalize', 2],
  ['output_dtype', 'float'],
  ['embed_dtype', 'float32'],
  ['embedding_type', 'float'],
  ['late_chunking', false],
  ['return_multivector', false],
  ['dimensions', undefined],
  ['prompt_name', undefined],
  ['embedding_types', undefined],
  ['truncate_prompt_tokens', undefined],
]);

/**
 * The fields of an embedding or rerank request that a target has no word for and does not take (`carried`), in words for
 * the client. Throws unsupported for one that changes the numbers.
 */
export function otherFields(
  { model, extensions = {} }: { readonly model: string; readonly extensions?: JsonObject },
  provider: string,
  carried: readonly string[] = [],
): string[] {
  const others = Object.keys(extensions).filter((name) => !carried.includes(name));
  const param = others.find((name) => changing.has(name) && changing.get(name) !== extensions[name]);
  if (param === undefined) return others.filter((name) => !changing.has(name)).map((name) => `field '${name}'`);
  throw new GatewayError('unsupported', `${provider} (${model}) does not support '${param}'.`, { param });
}
