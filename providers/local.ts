import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent, Usage } from '../src/core/event.ts';
import {
  type CallOptions,
  type Capabilities,
  type ModelInfo,
  noCapabilities,
  type Provider,
} from '../src/core/provider.ts';
import { createEngineHost, type EngineHost } from '../src/engine/host.ts';
import type { EngineOutput, EngineUsage, LoadOptions } from '../src/engine/protocol.ts';
import { promptOf, toGenerateRequest } from '../src/engine/request.ts';

/** Where a model's file is and how it is loaded, over the provider's general engine options. */
export interface LocalModel extends Partial<LoadOptions> {
  readonly path: string;
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
  };
  /** Told of loads and crashes, for logs. */
  readonly onEvent?: (event: LocalEvent) => void;
}

export type LocalEvent =
  | { readonly type: 'loading'; readonly model: string; readonly fraction: number }
  | { readonly type: 'loaded'; readonly model: string; readonly ms: number; readonly pid: number }
  | { readonly type: 'crashed'; readonly model: string; readonly reason: string };

const capabilities: Capabilities = {
  ...noCapabilities,
  grammar: true,
  logprobs: true,
  choices: true,
  seed: true,
  penalties: true,
  logitBias: true,
  stop: true,
  prefill: true,
  completions: true,
  local: true,
};

/**
 * GGUF models on this machine, one engine child each, loaded on first use. Throws GatewayError model_not_found |
 * model_unavailable | engine_failed | overloaded | context_length_exceeded | invalid_request.
 */
export function createLocalProvider(options: LocalProviderOptions): Provider {
  const { models, engine = {}, onEvent = () => {} } = options;
  const resolve: ResolveModel =
    typeof models === 'function'
      ? models
      : (name) => {
          const model = Object.hasOwn(models, name) ? models[name] : undefined;
          if (!model)
            throw new GatewayError('model_not_found', `There is no local model "${name}".`, { param: 'model' });
          return model;
        };
  const hosts = new Map<string, Promise<EngineHost>>();
  const ready = new Map<string, EngineHost>();

  function hostOf(name: string, signal: AbortSignal): Promise<EngineHost> {
    let host = hosts.get(name);
    if (!host) {
      host = open(name, signal);
      hosts.set(name, host);
      host.catch(() => hosts.delete(name)); // the next request tries again: the file may be there by then
    }
    return host;
  }

  async function open(name: string, signal: AbortSignal): Promise<EngineHost> {
    const { path, ...own } = await resolve(name, { signal });
    const host = createEngineHost({
      ...engine,
      ...own,
      modelPath: path,
      onLoaded: (info, pid) => onEvent({ type: 'loaded', model: name, ms: Math.round(info.loadMs), pid }),
      onProgress: (fraction) => onEvent({ type: 'loading', model: name, fraction }),
      onCrash: (reason) => onEvent({ type: 'crashed', model: name, reason }),
    });
    ready.set(name, host);
    return host;
  }

  const call = async <T>(name: string, question: Parameters<EngineHost['call']>[0], { signal }: CallOptions) =>
    (await (await hostOf(name, signal)).call(question, { signal })) as T; // the child answers each method in its own type

  return {
    name: 'local',
    capabilities,
    async *stream(request, { signal, tenant = 'anonymous' }) {
      const generate = toGenerateRequest(request, tenant);
      const host = await hostOf(request.model, signal);
      for await (const output of host.generate(generate, { signal })) {
        const event = toEvent(output);
        if (event) yield event;
      }
    },
    countTokens: (request, callOptions) =>
      call<number>(request.model, { method: 'count', prompt: promptOf(request) }, callOptions),
    applyTemplate: (request, callOptions) =>
      call<string>(request.model, { method: 'render', prompt: promptOf(request) }, callOptions),
    tokenize: ({ model, text, addSpecial = false, parseSpecial = true }, callOptions) =>
      call<readonly number[]>(model, { method: 'tokenize', text, addSpecial, parseSpecial }, callOptions),
    detokenize: ({ model, tokens }, callOptions) => call<string>(model, { method: 'detokenize', tokens }, callOptions),
    models: async () => [...ready].map(([id, host]) => describe(id, host)),
    async close() {
      const open = await Promise.allSettled(hosts.values());
      await Promise.all(open.map((host) => (host.status === 'fulfilled' ? host.value.close() : undefined)));
    },
  };
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

function toEvent(output: EngineOutput): CompletionEvent | undefined {
  switch (output.type) {
    case 'text':
      return {
        type: 'text-delta',
        choice: output.choice,
        text: output.text,
        ...(output.logprobs ? { logprobs: output.logprobs } : {}),
      };
    case 'progress':
      return { type: 'progress', processedTokens: output.processedTokens, totalTokens: output.totalTokens };
    case 'finish':
      return {
        type: 'finish',
        choice: output.choice,
        reason: output.reason,
        ...(output.stopSequence === undefined ? {} : { stopSequence: output.stopSequence }),
      };
    case 'done':
      return { type: 'usage', usage: toUsage(output.usage) };
    case 'prompt':
    case 'failed':
      return undefined; // `failed` was thrown by the host
    default:
      return output satisfies never;
  }
}

function toUsage({ acceptedDraftTokens, rejectedDraftTokens, ...usage }: EngineUsage): Usage {
  const drafted = acceptedDraftTokens + rejectedDraftTokens > 0;
  return {
    ...usage,
    ...(drafted
      ? { acceptedPredictionTokens: acceptedDraftTokens, rejectedPredictionTokens: rejectedDraftTokens }
      : {}),
  };
}
