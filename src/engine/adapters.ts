import type { ActiveRequest } from './job.ts';
import type { LlamaContext } from './llama-context.ts';
import type { LoraOptions } from './load-options.ts';

/** Switches the context to the LoRA adapters of a request, when it has others now. */
export function createAdapterSwitch(
  context: LlamaContext,
  loras: readonly LoraOptions[] = [],
): (active: ActiveRequest | undefined) => Promise<void> {
  let present = '';
  return async (active) => {
    if (!active || active.adapters === present) return;
    const adapters = (active.request.loras ?? []).map(({ name, scale }) => ({
      path: loras.find((lora) => lora.name === name)?.path ?? '',
      scale,
    }));
    await context.setAdapters(adapters);
    present = active.adapters;
  };
}
