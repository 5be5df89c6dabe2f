import { getLlama, type Llama, LlamaLogLevel, NoBinaryFoundError } from 'node-llama-cpp';
import type { Bindings, GrammarState, NativeModel } from './binding.ts';
import { usableCores } from './cores.ts';
import { type ContextOptions, type LlamaContext, openLlamaContext } from './llama-context.ts';
import { isRanking, kvBytesOf, templatesOf } from './llama-metadata.ts';
import { createLlamaSampler, type LlamaSampler, type SamplerConfig } from './llama-sampler.ts';
import type { LoadOptions } from './load-options.ts';
import { chooseContext, defaultSlots } from './memory.ts';
import type { EngineModelInfo } from './protocol.ts';
import { createVocabulary, type Vocabulary } from './vocabulary.ts';

/**
 * llama.cpp through node-llama-cpp, and the only file that imports it. Models are loaded by its public classes; the
 * batch is driven through the native context below them, which more than doubles the throughput of many streams. That
 * part is private: the version is pinned exactly and test/engine/llama.test.ts holds every call used here.
 */
export interface LlamaModel extends Vocabulary {
  readonly info: EngineModelInfo;
  createSampler(options: SamplerConfig): LlamaSampler;
  /** Throws on a grammar that does not parse. Compiled grammars are kept by their text. */
  createGrammarState(gbnf: string): GrammarState;
  cloneGrammarState(state: GrammarState): GrammarState;
  /** Throws where the grammar does not allow the token. */
  acceptGrammarToken(state: GrammarState, token: number): void;
  createContext(options: ContextOptions): Promise<LlamaContext>;
  close(): Promise<void>;
}

/** Compiled ones, by their text. */
const keptGrammars = 32;

/** The binaries are optional packages, since each is for one kind of machine. */
function noBinary(gpu: LoadOptions['gpu']): string {
  if (gpu && gpu !== 'auto')
    return `the engine's ${gpu} binary is not installed; tidegate check says how, or set engine.gpu: auto`;
  const machine = `${process.platform}-${process.arch}`;
  return `no binary of the engine for ${machine} is installed; install with optional dependencies (on Linux, one with glibc)`;
}

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
  }).catch((error: unknown) => {
    throw error instanceof NoBinaryFoundError ? new Error(noBinary(options.gpu), { cause: error }) : error;
  });
  const model = await llama.loadModel({
    modelPath: options.modelPath,
    gpuLayers: options.gpuLayers ?? 'auto',
    defaultContextFlashAttention: options.flashAttention ?? true,
    onLoadProgress: (fraction) => hooks.onProgress?.(fraction),
  });
  // The private members that this file is about.
  const native = (model as unknown as { _model: NativeModel })._model;
  const bindings = (llama as unknown as { _bindings: Bindings })._bindings;

  const tokenizer = model.fileInfo.metadata.tokenizer?.ggml;
  const vocabularySize = tokenizer?.tokens?.length ?? 0;
  const vocabulary = createVocabulary(native, vocabularySize, (tokenizer ?? {}) as Record<string, unknown>);
  const templates = templatesOf(model.fileInfo);
  const textOf = (token: number | undefined) => (token === undefined ? '' : vocabulary.tokenText(token));
  const grammars = new Map<string, GrammarState>();
  const loras = new Map<string, Promise<unknown>>();
  const loadLora = (path: string): Promise<unknown> => {
    let lora = loras.get(path);
    if (!lora) {
      // The public loader keeps reference counts that we don't need; the adapter lives as long as the model.
      lora = (model as unknown as { _getOrLoadLora(path: string): Promise<unknown> })._getOrLoadLora(path);
      loras.set(path, lora);
    }
    return lora;
  };

  const kvBytesPerToken = kvBytesOf(model.fileInfo, options);
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
    vocabularySize,
    embeddingLength: native.getEmbeddingVectorSize(),
    chatTemplate: options.chatTemplate ?? templates.chat,
    toolTemplate: options.chatTemplate === undefined ? templates.tools : undefined,
    bosText: textOf(vocabulary.bosToken),
    eosText: textOf(vocabulary.eosToken),
    fillInMiddle: vocabulary.fillInMiddle !== undefined,
    ranking: isRanking(model.fileInfo),
    kvBytesPerToken,
    gpu: llama.gpu,
    gpuLayers: model.gpuLayers,
    loadMs: performance.now() - startedMs,
  };

  return {
    info,
    ...vocabulary,
    createSampler: (config) => createLlamaSampler(bindings, native, config),
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
    createContext: (wanted) => openLlamaContext(wanted, { bindings, model: native, threads, load: options, loadLora }),
    async close() {
      await model.dispose();
      await llama.dispose();
    },
  };
}
