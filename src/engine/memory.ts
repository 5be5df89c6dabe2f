import type { GgufFacts } from './gguf.ts';
import { kvBytesPerToken } from './gguf.ts';
import type { LoadOptions } from './load-options.ts';

export const defaultSlots = 8;

/** Bytes of one KV cell element, by llama.cpp's names. */
export const cellBytes: Readonly<Record<string, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  q8_0: 34 / 32,
  q5_1: 24 / 32,
  q5_0: 22 / 32,
  q4_1: 20 / 32,
  q4_0: 18 / 32,
};

/** Largest power of two up to the trained context for which all slots' KV fits a GiB; at least 1,024. */
export function chooseContext(trained: number, slots: number, bytesPerToken: number): number {
  let tokens = Math.min(trained, 32_768);
  while (tokens > 1024 && tokens * slots * bytesPerToken > 2 ** 30) tokens = 2 ** Math.floor(Math.log2(tokens - 1));
  return tokens;
}

export interface MemoryEstimate {
  readonly totalBytes: number;
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly slots: number;
  readonly contextTokens: number;
}

/** Buffers of the compute graph and the process itself. */
const overheadBytes = 150 * 2 ** 20;

/** What a model will take when loaded so, from its header alone. */
export function estimateMemory(facts: GgufFacts, options: Partial<LoadOptions>): MemoryEstimate {
  const slots = options.slots ?? defaultSlots;
  const perToken = kvBytesPerToken(
    facts,
    cellBytes[options.kvCacheKeyType ?? 'f16'] ?? 2,
    cellBytes[options.kvCacheValueType ?? 'f16'] ?? 2,
  );
  const trained = Number(facts.metadata.get(`${facts.metadata.get('general.architecture')}.context_length`) ?? 4096);
  const contextTokens = options.contextTokens ?? chooseContext(trained, slots, perToken);
  const kvBytes = perToken * slots * contextTokens;
  return {
    totalBytes: facts.sizeBytes + kvBytes + overheadBytes,
    weightBytes: facts.sizeBytes,
    kvBytes,
    slots,
    contextTokens,
  };
}
