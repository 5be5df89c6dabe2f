import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { SpeedMeter } from './speed.ts';

/**
 * The first pass reads the weights and starts the threads; the next is the first measurement. Returns the threads to
 * begin with: all, or one where the machine is so busy that one is faster.
 */
export async function warmUp(model: LlamaModel, context: LlamaContext, speed: SpeedMeter): Promise<number> {
  const pass = async (count: number, threads: number): Promise<number> => {
    const tokens = Uint32Array.from({ length: count }, () => model.bosToken ?? 0);
    context.setThreads(threads);
    const startedMs = performance.now();
    context.begin(count);
    context.add(0, 0, tokens, Uint32Array.of(count - 1));
    await context.decode();
    const ms = performance.now() - startedMs;
    context.truncate(0, 0);
    return ms;
  };
  const most = model.info.threads;
  await pass(8, most);
  const all = await pass(16, most);
  const one = most > 1 ? await pass(16, 1) : all;
  speed.record(0, 16, Math.min(all, one));
  return one < all ? 1 : most;
}
