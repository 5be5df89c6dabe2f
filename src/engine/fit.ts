import { totalmem } from 'node:os';
import { GatewayError } from '../core/errors.ts';
import type { GgufFacts } from './gguf.ts';
import type { LoadOptions } from './load-options.ts';
import { estimateMemory, type MemoryEstimate } from './memory.ts';
import { readModelFile } from './shards.ts';

/** Half of what this machine, or its container, has. */
export function defaultMemoryBytes(): number {
  const constrained = process.constrainedMemory();
  const total = totalmem();
  return (constrained > 0 && constrained < total ? constrained : total) / 2;
}

/**
 * What the model at `path` will take when loaded so, its draft model included, read before a child is started for it.
 * Throws model_unavailable where the file cannot be read, or needs more than `memoryBytes`.
 */
export async function checkFit(
  name: string,
  path: string,
  settings: Partial<LoadOptions>,
  memoryBytes: number,
): Promise<MemoryEstimate> {
  const facts = await readModelFile(path).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new GatewayError('model_unavailable', `The model "${name}" could not be loaded: ${reason}.`, {
      cause: error,
    });
  });
  const estimate = await estimateWithDraft(facts, settings);
  if (estimate.totalBytes > memoryBytes) {
    throw new GatewayError(
      'model_unavailable',
      `The model "${name}" needs about ${gib(estimate.totalBytes)} (${gib(estimate.weightBytes)} of weights, ${gib(estimate.kvBytes)} of KV cache for ${estimate.slots} slots of ${estimate.contextTokens} tokens${settings.draft ? ', its draft model included' : ''}), and the engine may use ${gib(memoryBytes)}. Use fewer slots, a shorter context, a smaller quantisation, or raise engine.memory.`,
    );
  }
  return estimate;
}

/** A draft model beside it takes its own weights, and KV for the same slots and context. */
async function estimateWithDraft(facts: GgufFacts, settings: Partial<LoadOptions>): Promise<MemoryEstimate> {
  const own = estimateMemory(facts, settings);
  const path = settings.draft?.modelPath;
  const draft = path === undefined ? undefined : await readModelFile(path).catch(() => undefined); // loading tells what is wrong
  if (!draft) return own;
  const { slots, contextTokens } = own;
  const beside = estimateMemory(draft, { slots, contextTokens });
  return {
    ...own,
    totalBytes: own.totalBytes + beside.totalBytes,
    weightBytes: own.weightBytes + beside.weightBytes,
    kvBytes: own.kvBytes + beside.kvBytes,
  };
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
