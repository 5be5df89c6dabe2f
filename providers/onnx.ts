import { stat } from 'node:fs/promises';
import { GatewayError } from '../src/core/errors.ts';
import {
  type Capabilities,
  type EmbeddingResult,
  type ModerationResult,
  noCapabilities,
  type Provider,
} from '../src/core/provider.ts';
import { readable } from '../src/core/request.ts';
import { createOnnxHost, type OnnxHost } from './onnx/host.node.ts';
import type { OnnxMethods, OnnxModel } from './onnx/messages.ts';
import { ignoredBy } from './shared/ignored.ts';
import { otherFields } from './shared/other-fields.ts';
import { assertSupported } from './shared/supported.ts';

export interface OnnxProviderOptions {
  readonly name?: string;
  readonly models: Readonly<Record<string, OnnxModel>>;
  /** The child of a model may be silent for so long before it counts as hung; loading a large one is silent too. */
  readonly silenceMs?: number;
  /** Told when a model's child was started, for logs and tests. */
  readonly onStart?: (model: string, host: OnnxHost) => void;
}

export const onnxCapabilities: Capabilities = {
  ...noCapabilities,
  stop: true,
  completions: true,
  embeddings: true,
  local: true,
};
const carried: ReadonlySet<string> = new Set(['top_k', 'repeat_penalty']);
const defaultSilenceMs = 60_000;

/**
 * ONNX models of @huggingface/transformers: small ones for generation, embeddings and classification. Each runs in a
 * child process of its own, so that native code can cost no more than that model's requests.
 * Throws GatewayError model_not_found | model_unavailable | engine_failed | unsupported | invalid_request.
 */
export function createOnnxProvider({
  name = 'onnx',
  models,
  silenceMs = defaultSilenceMs,
  onStart = () => {},
}: OnnxProviderOptions): Provider {
  const hosts = new Map<string, OnnxHost>();

  async function open(id: string, task: OnnxModel['task']): Promise<OnnxHost> {
    const model = Object.hasOwn(models, id) ? models[id] : undefined;
    if (!model) throw new GatewayError('model_not_found', `There is no ONNX model "${id}".`, { param: 'model' });
    if (model.task !== task) {
      throw new GatewayError('unsupported', `The model "${id}" is for ${model.task}, not for ${task}.`, {
        param: 'model',
      });
    }
    if (!(await stat(model.path).catch(() => undefined))?.isDirectory()) {
      throw new GatewayError(
        'model_unavailable',
        `The ONNX model "${id}" is not there: there is no folder ${model.path}.`,
      );
    }
    const known = hosts.get(id);
    if (known) return known;
    const host = createOnnxHost(id, model, silenceMs);
    hosts.set(id, host);
    onStart(id, host);
    return host;
  }

  /** The value of a call that is no stream. */
  async function whole<T>(
    id: string,
    task: OnnxModel['task'],
    method: keyof OnnxMethods,
    request: unknown,
    signal: AbortSignal,
  ): Promise<T> {
    const host = await open(id, task);
    const { value } = await host.call(method, request, signal).next();
    return value as T; // the child runs the same method
  }

  return {
    name,
    capabilities: onnxCapabilities,
    async *stream(request, { signal }) {
      assertSupported(request, onnxCapabilities, name);
      const host = await open(request.model, 'text-generation');
      yield* host.call('stream', readable(request), signal);
    },
    ignores: (request) => ignoredBy(request, onnxCapabilities, carried),
    async embed(request, { signal }) {
      const ignored = otherFields(request, name);
      const made = await whole<EmbeddingResult>(request.model, 'feature-extraction', 'embed', request, signal);
      return { ...made, ignored };
    },
    moderate: (request, { signal }) =>
      whole<ModerationResult>(request.model ?? '', 'text-classification', 'moderate', request, signal),
    models: async () =>
      Object.keys(models).map((id) => ({ id, state: hosts.get(id)?.state() ?? ('unloaded' as const) })),
    async close() {
      await Promise.all([...hosts.values()].map((host) => host.close()));
    },
  };
}
