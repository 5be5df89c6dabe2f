import * as z from 'zod';
import { once } from '../../core/once.ts';
import type { EmbeddingRequest, EmbeddingResult } from '../../core/provider.ts';
import { extensionsOf } from '../request-fields.ts';
import { parseBody } from '../validate.ts';

const tokenId = once(() => z.number().int().min(0));

export const embeddingRequestSchema = once(() =>
  z.looseObject({
    model: z.string().min(1),
    input: z.union([
      z.string().min(1),
      z.array(z.string().min(1)).min(1).max(2048),
      z.array(tokenId()).min(1),
      z.array(z.array(tokenId()).min(1)).min(1).max(2048),
    ]),
    encoding_format: z.enum(['float', 'base64']).nullish(),
    dimensions: z.number().int().min(1).max(65_536).nullish(),
    user: z.string().nullish(),
  }),
);

const modelled = new Set(['model', 'input', 'encoding_format', 'dimensions', 'user']);

export type EmbeddingEncoding = 'float' | 'base64';

/** One input or many, as texts or as token ids of the model. */
export function decodeEmbeddingRequest(body: unknown): { request: EmbeddingRequest; encoding: EmbeddingEncoding } {
  const { model, input, encoding_format, dimensions, user } = parseBody(embeddingRequestSchema(), body);
  return {
    request: {
      model,
      inputs: inputsOf(input),
      ...(dimensions == null ? {} : { dimensions }),
      ...(user == null ? {} : { user }),
      extensions: extensionsOf(body, modelled),
    },
    encoding: encoding_format ?? 'float',
  };
}

function inputsOf(input: string | string[] | number[] | number[][]): EmbeddingRequest['inputs'] {
  if (typeof input === 'string') return [input];
  return typeof input[0] === 'number' ? [input as number[]] : (input as (string | number[])[]); // no mixed arrays pass the schema
}

/** OpenAI’s answer: vectors as lists, or as base64 of little-endian float32. */
export function encodeEmbeddings(result: EmbeddingResult, model: string, encoding: EmbeddingEncoding) {
  return {
    object: 'list',
    data: result.vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: encoding === 'base64' ? base64Floats(vector) : Array.from(vector),
    })),
    model,
    usage: { prompt_tokens: result.usage.promptTokens, total_tokens: result.usage.promptTokens },
  };
}

/** Little-endian float32, as the SDKs decode it. */
function base64Floats(vector: readonly number[] | Float32Array): string {
  const view = new DataView(new ArrayBuffer(vector.length * 4));
  for (let index = 0; index < vector.length; index++) view.setFloat32(index * 4, vector[index] ?? 0, true);
  let binary = '';
  for (const byte of new Uint8Array(view.buffer)) binary += String.fromCharCode(byte);
  return btoa(binary);
}
