import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { SpeedMeter } from './speed.ts';

/** So many tokens show how fast prompts are read. */
const probeTokens = 16;
/** One thread must win by so much, twice: a start is a busy moment, and one busy core does not make a busy machine. */
const clearly = 1.25;

/**
 * The first pass reads the weights and starts the threads; the next is the first measurement. Returns the threads to
 * begin with: all, or one where the machine is so busy that one is clearly faster.
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
  let all = await pass(probeTokens, most);
  let one = most > 1 ? await pass(probeTokens, 1) : all;
  if (one < all) {
    all = Math.min(all, await pass(probeTokens, most));
    one = Math.min(one, await pass(probeTokens, 1));
  }
  speed.record(0, probeTokens, Math.min(all, one));
  return one * clearly < all ? 1 : most;
}
