/**
 * What we use of node-llama-cpp's native classes. Its own types are not exported by the package; the version is pinned
 * exactly and test/engine/llama.test.ts holds every call named here.
 */
export interface NativeModel {
  tokenize(text: string, special: boolean): Uint32Array;
  detokenize(tokens: Uint32Array, special?: boolean): string;
  getTokenString(token: number): string;
  getTokenAttributes(token: number): number;
  getVocabularyType(): number;
  getTrainContextSize(): number;
  getEmbeddingVectorSize(): number;
  getTotalParameters(): number;
  getModelDescription(): string;
  getModelSize(): number;
  isEogToken(token: number): boolean;
  tokenBos(): number;
  tokenEos(): number;
  sepToken(): number;
  shouldAppendEosToken(): boolean;
  prefixToken(): number;
  middleToken(): number;
  suffixToken(): number;
  shouldPrependBosToken(): boolean;
}

export interface NativeContext {
  init(): Promise<boolean>;
  dispose(): Promise<void>;
  initBatch(size: number): void;
  addToBatch(sequence: number, position: number, tokens: Uint32Array, logits: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(place: number, sampler: unknown): Promise<number>;
  sampleToken(
    place: number,
    sampler: unknown,
    probabilities: boolean,
    confidence?: boolean,
  ): Promise<[number, number[] | undefined, number | undefined]>;
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  shiftSequenceTokenCells(sequence: number, start: number, end: number, delta: number): void;
  saveSequenceStateToFile(path: string, sequence: number, tokens: Uint32Array): Promise<number>;
  loadSequenceStateFromFile(path: string, sequence: number, maxTokens: number): Promise<Uint32Array>;
  getEmbedding(tokens: number): Float64Array;
  setThreads(threads: number): void;
  setLoras(loras: readonly unknown[], scales: readonly number[]): void;
}

export interface NativeSampler {
  applyConfig(config: Record<string, unknown>): void;
  dispose(): void;
}

/** A place in a grammar; opaque. */
export type GrammarState = { readonly __grammarState: never };

export interface Bindings {
  AddonContext: new (model: NativeModel, options: Record<string, unknown>) => NativeContext;
  AddonSampler: (new (
    model: NativeModel,
  ) => NativeSampler) & { acceptGrammarEvaluationStateToken(state: GrammarState, token: number): void };
  AddonGrammar: new (text: string, options: { addonExports: Bindings; rootRuleName: string }) => unknown;
  AddonGrammarEvaluationState: {
    new (model: NativeModel, grammar: unknown): GrammarState;
    new (state: GrammarState): GrammarState;
  };
  getGgmlType(name: string): number | undefined;
}
