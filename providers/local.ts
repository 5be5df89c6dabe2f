import { basename, resolve as pathOf } from 'node:path';
import { GatewayError } from '../src/core/errors.ts';
import {
  type CallOptions,
  type Capabilities,
  type ModelInfo,
  noCapabilities,
  type Provider,
} from '../src/core/provider.ts';
import type { ChatRequest } from '../src/core/request.ts';
import type { EngineStatus } from '../src/core/status.ts';
import { createAnswerReader, outputModelOf } from '../src/engine/answer.ts';
import { fromBase64 } from '../src/engine/embed.ts';
import { withoutFolders } from '../src/engine/engine-error.ts';
import { checkFit, defaultMemoryBytes } from '../src/engine/fit.ts';
import { createEngineHost, type EngineHost } from '../src/engine/host.ts';
import type { LoadOptions } from '../src/engine/load-options.ts';
import { compileOutput } from '../src/engine/output/compile.ts';
import { knownFields } from '../src/engine/output/refused.ts';
import { createEnginePool } from '../src/engine/pool.ts';
import { createPredictor } from '../src/engine/predict.ts';
import type { EmbedResult, EngineCall, EnginePrompt, RerankScores } from '../src/engine/protocol.ts';
import { promptOf, toGenerateRequest } from '../src/engine/request.ts';
import { createStatusReader } from '../src/engine/status.ts';
import { ignoredBy } from './shared/ignored.ts';
import { otherFields } from './shared/other-fields.ts';
import { shorten } from './shared/shorten.ts';

/** Where a model's file is and how it is loaded, over the provider's general engine options. */
export interface LocalModel extends Partial<LoadOptions> {
  readonly path: string;
  /** Text of a chat template in place of the model's own; asked at each request, so that a changed file counts at once. */
  readonly templateNow?: () => string | undefined;
}

export type ResolveModel = (
  name: string,
  options: { readonly signal: AbortSignal },
) => Promise<LocalModel> | LocalModel;

export interface LocalProviderOptions {
  /** Model files by name, or how to find one (it may fetch it). A name that isn't there is model_not_found. */
  readonly models: Readonly<Record<string, LocalModel>> | ResolveModel;
  readonly engine?: Partial<LoadOptions> & {
    /** A native call may last so long before the child counts as hung. */
    readonly hangMs?: number;
    /** The child's event loop may be silent for so long. */
    readonly silenceMs?: number;
    /** Most models in memory at once, and most memory for all of them. */
    readonly maxModels?: number;
    readonly memoryBytes?: number;
    /** Unload a model after so long without use. */
    readonly keepAliveMs?: number;
  };
  /** Told of loads and crashes, for logs. */
  readonly onEvent?: (event: LocalEvent) => void;
}

export type LocalEvent =
  | { readonly type: 'loading'; readonly model: string; readonly fraction: number }
  | { readonly type: 'loaded'; readonly model: string; readonly ms: number; readonly pid: number }
  | { readonly type: 'crashed'; readonly model: string; readonly reason: string };

/** The engine's own side: what it is doing, and which models it holds. */
export interface LocalProvider extends Provider {
  status(): readonly EngineStatus[];
  /** Loads a model before anybody asks for it. */
  load(name: string, signal: AbortSignal): Promise<void>;
  /** False when it is in use or not loaded. */
  unload(name: string): Promise<boolean>;
}

export const localCapabilities: Capabilities = {
  ...noCapabilities,
  grammar: true,
  tools: true,
  toolChoice: true,
  parallelToolCalls: true,
  customTools: true,
  jsonObject: true,
  jsonSchema: true,
  reasoning: true,
  logprobs: true,
  choices: true,
  seed: true,
  penalties: true,
  logitBias: true,
  stop: true,
  prefill: true,
  constrainedPrefill: true,
  completions: true,
  embeddings: true,
  local: true,
};

/** Arguments always follow their schema. */
const carried: ReadonlySet<string> = new Set([
  ...['top_k', 'min_p', 'repeat_penalty', 'prediction', 'strict'],
  ...knownFields,
]);

/**
 * GGUF models on this machine, one engine child each, loaded on first use and unloaded when others need the room.
 * Throws GatewayError model_not_found | model_unavailable | engine_failed | overloaded | context_length_exceeded |
 * invalid_request.
 */
export function createLocalProvider(options: LocalProviderOptions): LocalProvider {
  const { models, engine = {}, onEvent = () => {} } = options;
  const { maxModels = 4, memoryBytes = defaultMemoryBytes(), keepAliveMs, ...load } = engine;
  const resolve: ResolveModel =
    typeof models === 'function'
      ? models
      : (name) => {
          const model = Object.hasOwn(models, name) ? models[name] : undefined;
          if (!model)
            throw new GatewayError('model_not_found', `There is no local model "${name}".`, { param: 'model' });
          return model;
        };
  const predictor = createPredictor();
  const reader = createStatusReader({
    memoryBytes: load.kvCache?.memoryBytes ?? 0,
    diskBytes: load.kvCache?.diskBytes ?? 0,
  });
  const templates = new Map<string, LocalModel['templateNow']>();
  const outputOf = async (host: EngineHost, request: ChatRequest, signal: AbortSignal) =>
    compileOutput(request, await outputModelOf(host, request, signal, templates.get(request.model)?.()));
  const pool = createEnginePool({
    maxModels,
    memoryBytes,
    keepAliveMs,
    prepare: (name, signal) =>
      prepare(name, signal).catch((error) => {
        throw forCallers(name, error);
      }),
  });

  async function prepare(name: string, signal: AbortSignal): Promise<{ host: EngineHost; bytes: number }> {
    const { path, templateNow, ...own } = await resolve(name, { signal });
    templates.set(name, templateNow);
    const settings = { ...load, ...own };
    const { totalBytes: bytes } = await checkFit(name, path, settings, memoryBytes);
    const host = createEngineHost({
      ...settings,
      modelPath: path,
      onLoaded: (info, pid) => onEvent({ type: 'loaded', model: name, ms: Math.round(info.loadMs), pid }),
      onProgress: (fraction) => onEvent({ type: 'loading', model: name, fraction }),
      onCrash: (reason) => {
        reader.crashed(name);
        onEvent({ type: 'crashed', model: name, reason });
      },
    });
    return { host, bytes };
  }

  async function call<T>(name: string, question: EngineCall, { signal }: CallOptions): Promise<T> {
    const { host, release } = await pool.acquire(name, signal);
    try {
      return (await host.call(question, { signal })) as T; // the child answers each method in its own type
    } finally {
      release();
    }
  }

  /** The prompt as it will be sent: tools and earlier calls included. */
  async function promptFor(request: ChatRequest, { signal }: CallOptions): Promise<EnginePrompt> {
    const { host, release } = await pool.acquire(request.model, signal);
    try {
      return (await outputOf(host, request, signal)).additions.prompt ?? promptOf(request);
    } finally {
      release();
    }
  }

  return {
    name: 'local',
    capabilities: localCapabilities,
    async *stream(request, { signal, tenant = 'anonymous' }) {
      const { host, release } = await pool.acquire(request.model, signal);
      let answer = '';
      try {
        const { additions, parser } = await outputOf(host, request, signal);
        const read = createAnswerReader(parser);
        const generate = toGenerateRequest(request, tenant, additions);
        for await (const output of host.generate(generate, { signal })) {
          if (output.type === 'prompt') predictor.learn(request, tenant, output.promptTokens);
          else if (output.type === 'text' && output.choice === 0) answer += output.text;
          else if (output.type === 'done' && request.choices === 1) {
            const { promptTokens, completionTokens } = output.usage;
            predictor.learnAnswer(request, tenant, answer, promptTokens + completionTokens);
          }
          for (const event of read(output)) yield event; // `yield*` wraps each in promises of its own
        }
      } finally {
        release();
      }
    },
    ignores: (request) => ignoredBy(request, localCapabilities, carried),
    predict: (request, tenant = 'anonymous') =>
      predictor.predict(request, tenant, pool.open().get(request.model)?.stats()),
    countTokens: async (request, callOptions) =>
      call<number>(request.model, { method: 'count', prompt: await promptFor(request, callOptions) }, callOptions),
    applyTemplate: async (request, callOptions) =>
      call<string>(request.model, { method: 'render', prompt: await promptFor(request, callOptions) }, callOptions),
    tokenize: ({ model, text, addSpecial = false, parseSpecial = true }, callOptions) =>
      call<readonly number[]>(model, { method: 'tokenize', text, addSpecial, parseSpecial }, callOptions),
    detokenize: ({ model, tokens }, callOptions) => call<string>(model, { method: 'detokenize', tokens }, callOptions),
    async promptFacts({ model }, { signal }) {
      const { host, release } = await pool.acquire(model, signal);
      try {
        const { contextTokens, slots, chatTemplate, bosText, eosText } = await host.load(signal);
        return { contextTokens, slots, chatTemplate: templates.get(model)?.() ?? chatTemplate, bosText, eosText };
      } finally {
        release();
      }
    },
    async embed({ model, inputs, dimensions, extensions }, callOptions) {
      const ignored = otherFields({ model, extensions }, 'local');
      const { vectors, promptTokens } = await call<EmbedResult>(model, { method: 'embed', inputs }, callOptions);
      return {
        vectors: vectors.map((vector) => shorten(fromBase64(vector), dimensions)),
        usage: { promptTokens, completionTokens: 0 },
        ignored,
      };
    },
    async rerank({ model, query, documents, topN, extensions = {} }, callOptions) {
      const ignored = otherFields({ model, extensions }, 'local');
      const { scores, promptTokens } = await call<RerankScores>(
        model,
        { method: 'rerank', query, documents },
        callOptions,
      );
      const results = scores.map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score);
      const usage = { promptTokens, completionTokens: 0 };
      return { results: results.slice(0, topN ?? results.length), usage, ignored };
    },
    models: async () => [...pool.open()].map(([id, host]) => describe(id, host)),
    status: () => [...pool.open()].map(([name, host]) => reader.read(name, host)),
    async load(name, signal) {
      const { host, release } = await pool.acquire(name, signal);
      try {
        await host.load(signal);
      } finally {
        release();
      }
    },
    unload: (name) => pool.unload(name),
    close: () => pool.close(),
  };
}

/** What went wrong with a model's file, as callers may read it. `name` may be a path, also one with blanks in it. */
function forCallers(name: string, error: unknown): unknown {
  if (!(error instanceof GatewayError)) return error;
  const file = basename(name);
  const message = withoutFolders(error.message.replaceAll(pathOf(name), file).replaceAll(name, file));
  return message === error.message
    ? error
    : new GatewayError(error.kind, message, { cause: error, param: error.param ?? undefined });
}

function describe(id: string, host: EngineHost): ModelInfo {
  const model = host.model();
  const state = host.state();
  if (!model) return { id, state };
  return {
    id,
    state,
    contextTokens: model.contextTokens,
    sizeBytes: model.sizeBytes,
    family: model.architecture,
    parameters: parametersText(model.parameters),
  };
}

function parametersText(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)}B` : `${Math.round(count / 1e6)}M`;
}
