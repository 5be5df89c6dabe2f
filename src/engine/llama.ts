import { getLlama, type Llama, LlamaLogLevel } from 'node-llama-cpp';
import { usableCores } from './cores.ts';
import { tokenTextToBytes } from './detokenize.ts';
import { cellBytes, chooseContext, defaultSlots } from './memory.ts';
import type { EngineModelInfo, LoadOptions, SamplingOptions } from './protocol.ts';

/**
 * llama.cpp through node-llama-cpp, and the only file that imports it. Models are loaded by its public classes; the
 * batch is driven through the native context below them, which more than doubles the throughput of many streams. That
 * part is private: the version is pinned exactly and test/engine/llama.test.ts holds every call used here.
 */
export interface LlamaModel {
  readonly info: EngineModelInfo;
  tokenize(text: string, parseSpecial: boolean): Uint32Array;
  /** Text of tokens as llama.cpp writes it; parts of characters at the ends are lost. */
  detokenize(tokens: Uint32Array, special: boolean): string;
  /** The token's own text in the vocabulary, as it is stored. */
  tokenText(token: number): string;
  /** UTF-8 bytes of one token. Control tokens are empty unless `special`. */
  tokenBytes(token: number, special: boolean): Uint8Array;
  isEndOfGeneration(token: number): boolean;
  readonly endTokens: readonly number[];
  readonly bosToken: number | undefined;
  readonly eosToken: number | undefined;
  readonly separatorToken: number | undefined;
  /** Token ids of prefix, suffix and middle for filling gaps. */
  readonly fillInMiddle: FillInMiddle | undefined;
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  /** Texts of control tokens: in user text they must not become tokens. */
  readonly controlTexts: readonly string[];
  createSampler(options: SamplerConfig): LlamaSampler;
  /** Throws on a grammar that does not parse. Compiled grammars are kept by their text. */
  createGrammarState(gbnf: string): GrammarState;
  cloneGrammarState(state: GrammarState): GrammarState;
  /** Throws where the grammar does not allow the token. */
  acceptGrammarToken(state: GrammarState, token: number): void;
  createContext(options: ContextOptions): Promise<LlamaContext>;
  close(): Promise<void>;
}

export interface FillInMiddle {
  readonly prefix: number;
  readonly suffix: number;
  readonly middle: number;
  /** Begins a repository, and each of its files, where the model was taught so. */
  readonly repository: number | undefined;
  readonly file: number | undefined;
}

export interface ContextOptions {
  readonly sequences: number;
  readonly contextTokens: number;
  readonly batchTokens: number;
  readonly embeddings?: boolean;
  readonly ranking?: boolean;
}

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

export type SamplerConfig = SamplingOptions & {
  /** Tokens that repetition penalties start with. */
  readonly history?: Uint32Array;
  readonly grammar?: GrammarState;
  readonly bans?: readonly number[];
};
export interface LlamaSampler {
  configure(options: SamplerConfig): void;
  dispose(): void;
  readonly native: unknown;
}
export type GrammarState = { readonly __grammarState: never };

/** What we use of the binding. Its own types are not exported by the package. */
interface NativeModel {
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
  eotToken(): number;
  sepToken(): number;
  shouldAppendEosToken(): boolean;
  prefixToken(): number;
  middleToken(): number;
  suffixToken(): number;
  shouldPrependBosToken(): boolean;
}
interface NativeContext {
  init(): Promise<boolean>;
  dispose(): Promise<void>;
  getContextSize(): number;
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
  getSequenceKvCacheMinPosition(sequence: number): number;
  getSequenceKvCacheMaxPosition(sequence: number): number;
  saveSequenceStateToFile(path: string, sequence: number, tokens: Uint32Array): Promise<number>;
  loadSequenceStateFromFile(path: string, sequence: number, maxTokens: number): Promise<Uint32Array>;
  getEmbedding(tokens: number): Float64Array;
  setThreads(threads: number): void;
  setLoras(loras: readonly unknown[], scales: readonly number[]): void;
}
interface NativeSampler {
  applyConfig(config: Record<string, unknown>): void;
  dispose(): void;
}
interface Bindings {
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

/** As llama.cpp finds them, which the binding does not tell. */
const repositoryTexts = ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'];
const controlAttribute = 8;
const byteAttribute = 32;
const keptGrammars = 32;
const rankPooling = 4;

/** Loads a model. Throws Error with the reason in llama.cpp's words. */
export async function loadLlamaModel(
  options: LoadOptions,
  hooks: { onProgress?: (fraction: number) => void; onLog?: (line: string) => void } = {},
): Promise<LlamaModel> {
  const startedMs = performance.now();
  const llama: Llama = await getLlama({
    gpu: options.gpu ?? 'auto',
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.warn,
    logger: (_level, message) => hooks.onLog?.(message.trim()),
    ...(options.threads === undefined ? {} : { maxThreads: options.threads }),
  });
  const flashAttention = options.flashAttention ?? true;
  const model = await llama.loadModel({
    modelPath: options.modelPath,
    gpuLayers: options.gpuLayers ?? 'auto',
    defaultContextFlashAttention: flashAttention,
    onLoadProgress: (fraction) => hooks.onProgress?.(fraction),
  });
  // The private members that this file is about.
  const native = (model as unknown as { _model: NativeModel })._model;
  const bindings = (llama as unknown as { _bindings: Bindings })._bindings;

  const vocabularyType = native.getVocabularyType();
  const metadata = model.fileInfo.metadata;
  const tokenCount = metadata.tokenizer?.ggml?.tokens?.length ?? 0;
  const endTokens: number[] = [];
  const controlTexts: string[] = [];
  const controlTokens = new Map<string, number>();
  for (let token = 0; token < tokenCount; token++) {
    if (native.isEogToken(token)) endTokens.push(token);
    if (!(native.getTokenAttributes(token) & controlAttribute)) continue;
    const text = native.getTokenString(token);
    controlTexts.push(text);
    controlTokens.set(text, token);
  }
  const optional = (token: number) => (token >= 0 ? token : undefined);
  const textOf = (token: number | undefined) => (token === undefined ? '' : native.getTokenString(token));
  const bosToken = optional(native.tokenBos());
  const eosToken = optional(native.tokenEos());
  const named = (key: string, texts: readonly string[]) => {
    const id: unknown = (metadata.tokenizer?.ggml as Record<string, unknown> | undefined)?.[key];
    return typeof id === 'number'
      ? id
      : texts.map((text) => controlTokens.get(text)).find((token) => token !== undefined);
  };
  const fim = {
    prefix: native.prefixToken(),
    suffix: native.suffixToken(),
    middle: native.middleToken(),
    repository: named('fim_rep_token_id', repositoryTexts),
    file: named('fim_sep_token_id', ['<|file_sep|>']),
  };
  const fillInMiddle = fim.prefix >= 0 && fim.suffix >= 0 && fim.middle >= 0 ? fim : undefined;

  const plain = new Map<number, Uint8Array>();
  const special = new Map<number, Uint8Array>();
  const nothing = new Uint8Array(0);
  const encoder = new TextEncoder();
  const grammars = new Map<string, GrammarState>();
  const loras = new Map<string, Promise<unknown>>();

  const kvTypes = {
    ...cellType(bindings, 'kvCacheKeyType', options.kvCacheKeyType),
    ...cellType(bindings, 'kvCacheValueType', options.kvCacheValueType),
  };
  const kvBytesPerToken = kvBytes(model.fileInfo, options);
  const slots = options.slots ?? defaultSlots;
  const trainContextTokens = native.getTrainContextSize();
  const contextTokens = options.contextTokens ?? chooseContext(trainContextTokens, slots, kvBytesPerToken);
  const threads = options.threads ?? Math.min(llama.cpuMathCores, usableCores());

  const info: EngineModelInfo = {
    architecture: model.architecture,
    description: native.getModelDescription(),
    parameters: native.getTotalParameters(),
    sizeBytes: native.getModelSize(),
    trainContextTokens,
    contextTokens,
    slots,
    threads,
    vocabularySize: tokenCount,
    embeddingLength: native.getEmbeddingVectorSize(),
    chatTemplate:
      options.chatTemplate ??
      (typeof metadata.tokenizer?.chat_template === 'string' ? metadata.tokenizer.chat_template : undefined),
    toolTemplate: options.chatTemplate === undefined ? toolTemplate(metadata) : undefined,
    bosText: textOf(bosToken),
    eosText: textOf(eosToken),
    fillInMiddle: fillInMiddle !== undefined,
    ranking: poolingType(model.fileInfo) === rankPooling,
    kvBytesPerToken,
    gpu: llama.gpu,
    gpuLayers: model.gpuLayers,
    loadMs: performance.now() - startedMs,
  };

  return {
    info,
    tokenize: (text, parseSpecial) => (text === '' ? new Uint32Array(0) : native.tokenize(text, parseSpecial)),
    detokenize: (tokens, withSpecial) => native.detokenize(tokens, withSpecial),
    tokenText: (token) => native.getTokenString(token),
    tokenBytes(token, withSpecial) {
      const cache = withSpecial ? special : plain;
      let bytes = cache.get(token);
      if (!bytes) {
        const attributes = native.getTokenAttributes(token);
        if (attributes & controlAttribute) {
          bytes = withSpecial ? encoder.encode(native.getTokenString(token)) : nothing;
        } else {
          bytes =
            tokenTextToBytes(native.getTokenString(token), vocabularyType, (attributes & byteAttribute) !== 0) ??
            encoder.encode(native.detokenize(Uint32Array.of(token), withSpecial));
        }
        cache.set(token, bytes);
      }
      return bytes;
    },
    isEndOfGeneration: (token) => native.isEogToken(token),
    endTokens,
    bosToken,
    eosToken,
    separatorToken: optional(native.sepToken()),
    fillInMiddle,
    addsBos: native.shouldPrependBosToken() && bosToken !== undefined,
    addsEos: native.shouldAppendEosToken() && eosToken !== undefined,
    controlTexts: controlTexts.filter((text) => text.length > 1),
    createSampler(samplerOptions) {
      const sampler = new bindings.AddonSampler(native);
      sampler.applyConfig(nativeSampling(samplerOptions));
      return {
        native: sampler,
        configure: (next) => sampler.applyConfig(nativeSampling(next)),
        dispose: () => sampler.dispose(),
      };
    },
    createGrammarState(gbnf) {
      let pristine = grammars.get(gbnf);
      if (!pristine) {
        const grammar = new bindings.AddonGrammar(gbnf, { addonExports: bindings, rootRuleName: 'root' });
        pristine = new bindings.AddonGrammarEvaluationState(native, grammar);
        const oldest = grammars.keys().next().value;
        if (grammars.size >= keptGrammars && oldest !== undefined) grammars.delete(oldest);
      } else grammars.delete(gbnf); // and set again, as the most recent
      grammars.set(gbnf, pristine);
      return new bindings.AddonGrammarEvaluationState(pristine);
    },
    cloneGrammarState: (state) => new bindings.AddonGrammarEvaluationState(state),
    acceptGrammarToken: (state, token) => bindings.AddonSampler.acceptGrammarEvaluationStateToken(state, token),
    async createContext({ sequences, contextTokens: perSequence, batchTokens, embeddings, ranking }) {
      const context = new bindings.AddonContext(native, {
        contextSize: perSequence * sequences,
        batchSize: batchTokens,
        sequences,
        threads,
        flashAttention,
        ...kvTypes,
        ...(embeddings ? { embeddings: true } : {}),
        ...(ranking ? { ranking: true } : {}),
      });
      if (!(await context.init()))
        throw new Error('The context could not be made: most likely there is too little memory for it.');
      return createLlamaContext(context, perSequence, (path) => {
        let lora = loras.get(path);
        if (!lora) {
          // The public loader keeps reference counts that we don't need; the adapter lives as long as the model.
          lora = (model as unknown as { _getOrLoadLora(path: string): Promise<unknown> })._getOrLoadLora(path);
          loras.set(path, lora);
        }
        return lora;
      });
    },
    async close() {
      await model.dispose();
      await llama.dispose();
    },
  };
}

function createLlamaContext(
  context: NativeContext,
  contextTokens: number,
  loadLora: (path: string) => Promise<unknown>,
): LlamaContext {
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

/** Our sampling options as the binding's. Absent means off; the defaults of a request are decided before. */
function nativeSampling(options: SamplerConfig): Record<string, unknown> {
  const config: Record<string, unknown> = { temperature: options.temperature ?? 0 };
  const set = (name: string, value: unknown) => {
    if (value !== undefined) config[name] = value;
  };
  set('topK', options.topK);
  set('topP', options.topP);
  set('minP', options.minP);
  set('seed', options.seed === undefined ? undefined : options.seed >>> 0);
  if (options.xtcProbability) {
    set('xtcProbability', options.xtcProbability);
    set('xtcThreshold', options.xtcThreshold ?? 0.1);
  }
  const penalised =
    (options.repeatPenalty ?? 1) !== 1 || (options.frequencyPenalty ?? 0) !== 0 || (options.presencePenalty ?? 0) !== 0;
  if (penalised) {
    set('repeatPenaltyTokens', options.history ?? new Uint32Array(0));
    set('repeatPenalty', options.repeatPenalty);
    set('repeatPenaltyMaxTokens', options.repeatLastN ?? 64);
    set('repeatPenaltyFrequencyPenalty', options.frequencyPenalty);
    set('repeatPenaltyPresencePenalty', options.presencePenalty);
  }
  if (options.dryMultiplier) {
    set('dryRepeatPenaltyStrength', options.dryMultiplier);
    set('dryRepeatPenaltyBase', options.dryBase);
    set('dryRepeatPenaltyAllowedLength', options.dryAllowedLength);
    set('dryRepeatPenaltyLastTokens', options.dryPenaltyLastN);
    set('dryRepeatPenaltySequenceBreakers', options.drySequenceBreakers ?? ['\n', ':', '"', '*']);
  }
  const bias = new Map<number, number>();
  for (const [token, value] of Object.entries(options.logitBias ?? {})) {
    bias.set(Number(token), value <= -100 ? Number.NEGATIVE_INFINITY : value);
  }
  for (const token of options.bans ?? []) bias.set(token, Number.NEGATIVE_INFINITY);
  if (bias.size > 0) {
    config['tokenBiasKeys'] = Uint32Array.from(bias.keys());
    config['tokenBiasValues'] = Float32Array.from(bias.values());
  }
  set('grammarEvaluationState', options.grammar);
  return config;
}

function cellType(bindings: Bindings, option: string, name: string | undefined): Record<string, number> {
  if (name === undefined) return {};
  const type = bindings.getGgmlType(name.toUpperCase()) ?? bindings.getGgmlType(name.toLowerCase());
  if (type === undefined) throw new Error(`Unknown KV cache type "${name}": use f16, q8_0, q5_1, q5_0, q4_1 or q4_0.`);
  return { [option]: type };
}

function kvBytes(file: { readonly architectureMetadata: unknown }, options: LoadOptions): number {
  // Only these fields of the architecture's metadata matter; each may be a list with one number a layer.
  const { architectureMetadata: arch = {} } = file as {
    architectureMetadata?: {
      block_count?: number;
      embedding_length?: number;
      attention?: { head_count?: unknown; head_count_kv?: unknown; key_length?: number; value_length?: number };
    };
  };
  const layers = arch.block_count ?? 0;
  const mean = (value: unknown, otherwise: number): number => {
    if (typeof value === 'number') return value;
    if (!Array.isArray(value) || value.length === 0) return otherwise;
    return value.reduce((sum: number, item: unknown) => sum + Number(item), 0) / value.length;
  };
  const heads = mean(arch.attention?.head_count, 1);
  const kvHeads = mean(arch.attention?.head_count_kv, heads);
  const headLength = (arch.embedding_length ?? 0) / Math.max(1, heads);
  const keyBytes = (arch.attention?.key_length ?? headLength) * (cellBytes[options.kvCacheKeyType ?? 'f16'] ?? 2);
  const valueBytes = (arch.attention?.value_length ?? headLength) * (cellBytes[options.kvCacheValueType ?? 'f16'] ?? 2);
  return Math.round(layers * kvHeads * (keyBytes + valueBytes));
}

/** `pooling_type` of embedding and ranking models. */
function poolingType(file: { readonly architectureMetadata: unknown }): unknown {
  return (file.architectureMetadata as { readonly pooling_type?: unknown } | undefined)?.pooling_type;
}

function toolTemplate(metadata: { readonly tokenizer?: object }): string | undefined {
  const value: unknown = (metadata.tokenizer as Record<string, unknown> | undefined)?.['chat_template.tool_use'];
  return typeof value === 'string' ? value : undefined;
}
