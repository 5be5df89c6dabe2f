import type { Bindings, NativeContext, NativeModel } from './binding.ts';
import type { LlamaSampler } from './llama-sampler.ts';
import type { LoadOptions } from './load-options.ts';

/** One native context: sequences with their KV, and the batch. Calls must not overlap. */
export interface LlamaContext {
  readonly contextTokens: number;
  /** Starts a step; then `add` in ascending sequence order, `decode`, and `sample` at the places that `add` returned. */
  begin(tokens: number): void;
  /** Adds tokens from `position` on; returns the place of each of `logitsAt` (indexes into `tokens`). */
  add(sequence: number, position: number, tokens: Uint32Array, logitsAt: Uint32Array): Uint32Array;
  decode(): Promise<void>;
  /** The token chosen, or -1 where nothing is allowed. */
  sample(place: number, sampler: LlamaSampler): Promise<number>;
  /** Token ids and probabilities after the sampler's chain, falling. */
  probabilities(place: number, sampler: LlamaSampler): Promise<readonly [token: number, probability: number][]>;
  /** Probability of the token that `sampler` chooses, among all that its chain leaves. */
  confidence(place: number, sampler: LlamaSampler): Promise<readonly [token: number, probability: number]>;
  /** Forgets the tokens of a sequence from `position` on; false where the model cannot forget a part. */
  truncate(sequence: number, position: number): boolean;
  /** Forgets `[from, to)` and moves what follows down. */
  shift(sequence: number, from: number, to: number): boolean;
  save(sequence: number, path: string, tokens: Uint32Array): Promise<number>;
  load(sequence: number, path: string): Promise<Uint32Array>;
  embedding(tokens: number): Float64Array;
  setThreads(threads: number): void;
  setAdapters(adapters: readonly { readonly path: string; readonly scale: number }[]): Promise<void>;
  close(): Promise<void>;
}

export interface ContextOptions {
  readonly sequences: number;
  /** Of one sequence. */
  readonly contextTokens: number;
  readonly batchTokens: number;
  readonly embeddings?: boolean;
  readonly ranking?: boolean;
}

export interface ContextDeps {
  readonly bindings: Bindings;
  readonly model: NativeModel;
  readonly threads: number;
  readonly load: LoadOptions;
  readonly loadLora: (path: string) => Promise<unknown>;
}

/** Throws Error where memory is too small. */
export async function openLlamaContext(
  { sequences, contextTokens, batchTokens, embeddings, ranking }: ContextOptions,
  { bindings, model, threads, load, loadLora }: ContextDeps,
): Promise<LlamaContext> {
  const context: NativeContext = new bindings.AddonContext(model, {
    contextSize: contextTokens * sequences,
    batchSize: batchTokens,
    sequences,
    threads,
    flashAttention: load.flashAttention ?? true,
    ...cellType(bindings, 'kvCacheKeyType', load.kvCacheKeyType),
    ...cellType(bindings, 'kvCacheValueType', load.kvCacheValueType),
    ...(embeddings ? { embeddings: true } : {}),
    ...(ranking ? { ranking: true } : {}),
  });
  if (!(await context.init()))
    throw new Error('The context could not be made: most likely there is too little memory for it.');
  return {
    contextTokens,
    begin: (tokens) => context.initBatch(tokens),
    add: (sequence, position, tokens, logitsAt) => context.addToBatch(sequence, position, tokens, logitsAt),
    decode: () => context.decodeBatch(),
    sample: (place, sampler) => context.sampleToken(place, sampler.native),
    async probabilities(place, sampler) {
      const [, flat = []] = await context.sampleToken(place, sampler.native, true);
      const pairs: [number, number][] = [];
      for (let i = 0; i + 1 < flat.length; i += 2) pairs.push([flat[i] ?? 0, flat[i + 1] ?? 0]);
      return pairs;
    },
    async confidence(place, sampler) {
      const [token, , probability = 0] = await context.sampleToken(place, sampler.native, false, true);
      return [token, probability];
    },
    truncate: (sequence, position) => context.removeTokenCellsFromSequence(sequence, position, -1),
    shift(sequence, from, to) {
      if (!context.removeTokenCellsFromSequence(sequence, from, to)) return false;
      context.shiftSequenceTokenCells(sequence, to, -1, from - to);
      return true;
    },
    save: (sequence, path, tokens) => context.saveSequenceStateToFile(path, sequence, tokens),
    load: (sequence, path) => context.loadSequenceStateFromFile(path, sequence, contextTokens),
    embedding: (tokens) => context.getEmbedding(tokens),
    setThreads: (threads) => context.setThreads(threads),
    async setAdapters(adapters) {
      const loaded = await Promise.all(adapters.map(({ path }) => loadLora(path)));
      context.setLoras(
        loaded,
        adapters.map(({ scale }) => scale),
      );
    },
    close: () => context.dispose(),
  };
}

function cellType(bindings: Bindings, option: string, name: string | undefined): Record<string, number> {
  if (name === undefined) return {};
  const type = bindings.getGgmlType(name.toUpperCase()) ?? bindings.getGgmlType(name.toLowerCase());
  if (type === undefined) throw new Error(`Unknown KV cache type "${name}": use f16, q8_0, q5_1, q5_0, q4_1 or q4_0.`);
  return { [option]: type };
}
