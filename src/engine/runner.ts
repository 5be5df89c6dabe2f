import { createAccount } from './account.ts';
import { createAdapterSwitch } from './adapters.ts';
import { createAdmission } from './admission.ts';
import { createAdvance } from './advance.ts';
import { createDrafter } from './drafter.ts';
import { createEnergyMeter } from './energy.ts';
import { readRequest } from './intake.ts';
import { isDecoding, type Job } from './job.ts';
import { createJobs } from './jobs.ts';
import { hashOf, openKvStore } from './kv-store.ts';
import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { LoadOptions } from './load-options.ts';
import { createOutbox } from './outbox.ts';
import type { EngineOutput, EngineReport, EngineStats, GenerateRequest, SlotState } from './protocol.ts';
import { scratchFolder } from './scratch.ts';
import { createSlots } from './slots.ts';
import { createSpeculation, maxDraftTokens } from './speculate.ts';
import { createSpeedMeter } from './speed.ts';
import { runStep, StepError, type StepItem } from './step.ts';
import { createTally, statsOf } from './tally.ts';
import { createThreadTuner } from './threads.ts';
import { createPromptReader, type PromptReader } from './tokenize.ts';
import { warmUp } from './warm-up.ts';

/** The engine's loop over one context: schedule, run, apply. */
export interface Runner {
  submit(id: number, request: GenerateRequest): void;
  cancel(id: number): void;
  /** Runs `work` between two steps, when nothing else touches the native context. */
  between<T>(work: () => Promise<T>): Promise<T>;
  stats(): EngineStats;
  slots(): readonly SlotState[];
  /** Milliseconds that the native call under way has lasted; 0 between calls. */
  busyMs(): number;
  readonly prompts: PromptReader;
  /** Ends the loop and moves warm KV to the disk tier. */
  close(): Promise<void>;
}

export interface RunnerExtras {
  readonly draftModel?: LlamaModel | undefined;
  /** Native calls run one after the other as they were made, since libuv has one worker: the next may be made before the last is done. */
  readonly callsInOrder?: boolean;
}

/**
 * llama.cpp starts its threads anew for every step, and the kernel puts them where it is quiet at that moment. Before a step
 * that reads a prompt this thread stays so until they run: two of them on one core took twice as long.
 */
const threadStartMs = 1;
const defaultMaxQueue = 64;
const defaultBatchTokens = 512;

export async function createRunner(
  model: LlamaModel,
  context: LlamaContext,
  options: LoadOptions,
  emit: (outputs: readonly EngineOutput[], report: EngineReport | undefined) => void,
  { draftModel, callsInOrder = false }: RunnerExtras = {},
): Promise<Runner> {
  const { info } = model;
  const { contextTokens } = context;
  const maxQueue = options.maxQueue ?? defaultMaxQueue;
  const prompts = createPromptReader(model);
  const speed = createSpeedMeter();
  const threads = createThreadTuner(info.threads, await warmUp(model, context, speed));
  const store = await openStore(model, options);
  const { native, busyMs } = createNativeClock();
  const slots = createSlots(info.slots, context, store, info.kvBytesPerToken, native);
  const maxModelDraft = options.draft?.max ?? maxDraftTokens;
  const batchTokens = options.batchTokens ?? defaultBatchTokens;
  const drafter =
    draftModel &&
    (await createDrafter(model, draftModel, {
      slots: info.slots,
      contextTokens,
      batchTokens,
      most: maxModelDraft,
      native,
    }));
  const energy = createEnergyMeter(options.powercap);
  const metersEnergy = energy !== null;
  const tally = createTally();
  /** Jobs that wait for a slot, parked ones among them. */
  const queue: Job[] = [];
  /** Tokens by tenant, for fairness. */
  const served = new Map<string, number>();
  const errands: (() => Promise<void>)[] = [];
  let wake: (() => void) | undefined;
  /** Something came while the loop was busy: it looks again before it sleeps. */
  let news = false;
  let closed = false;

  const outbox = createOutbox(
    emit,
    () => `${slots.running().length}+${queue.length}`,
    () => ({ stats: stats(), slots: slots.states() }),
  );
  const jobs = createJobs({ queue, model, contextTokens, slots, outbox, tally, metersEnergy });
  const stats = (): EngineStats =>
    statsOf(tally, { running: slots.running(), queue, slots: info.slots, maxQueue, speed, store, metersEnergy });
  const admission = createAdmission({
    model,
    context,
    queue,
    slots,
    slotCount: info.slots,
    maxQueue,
    served,
    outbox,
    tally,
    stats,
  });
  const speculation = createSpeculation(contextTokens, maxModelDraft, drafter);
  const advance = createAdvance({ model, context, jobs, speculation, outbox, tally });
  const account = createAccount(served, tally, outbox);
  const switchAdapters = createAdapterSwitch(context, options.loras);

  const notify = () => {
    news = true;
    wake?.();
    wake = undefined;
  };

  /** False when there was nothing to do. */
  async function step(): Promise<boolean> {
    energy?.take(); // what was used since the last step was not for this one
    await speculation.propose(slots.running());
    let items: readonly StepItem[];
    try {
      const result = await runStep(
        slots.running(),
        context,
        speed,
        threads,
        options,
        { waiting: queue.length > 0, full: slots.running().length === info.slots },
        async (chosen) => {
          await switchAdapters(chosen[0]?.job.active);
          await native(() => {
            const running = context.decode();
            if (callsInOrder) advance.askAhead(chosen);
            return meanwhile(
              running,
              chosen.some(({ job }) => !isDecoding(job)),
            );
          });
        },
      );
      if (!result) return false;
      items = result.items;
      tally.prefillTokens += result.prefill;
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      for (const { job, slot } of error.items) {
        jobs.fail(job.active, 'The engine could not evaluate this request', error);
        slots.clear(slot);
      }
      return true;
    }
    account(items, slots.running(), energy?.take() ?? 0);
    const sampled = items.filter(({ places, job }) => places.length > 0 && !job.done);
    // The first sample settles the order of the batch's outputs inside llama.cpp; after it the others may run at once.
    const [first, ...rest] = sampled;
    if (first) await advance.sample(first);
    await Promise.all(rest.map(advance.sample));
    return true;
  }

  /** What the last step brought becomes text and goes out while the next one computes. */
  async function meanwhile(computing: Promise<void>, long: boolean): Promise<void> {
    if (!long) {
      deliver();
      return computing;
    }
    const later = setTimeout(deliver, threadStartMs);
    try {
      await computing;
    } finally {
      clearTimeout(later);
    }
    deliver();
  }

  function deliver(): void {
    advance.settle();
    outbox.flush();
  }

  async function loop(): Promise<void> {
    while (!closed) {
      news = false;
      await errands.shift()?.(); // one between two steps, so that streams go on
      if (queue.length > 0) deliver(); // it may take a while
      await admission.admit();
      const worked = await step();
      if (!worked) deliver();
      if (!worked && !news && !closed && errands.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  const ended = loop();
  return {
    submit(id, request) {
      const read = admission.refusal(request) ?? readRequest(request, { model, prompts, options, contextTokens });
      if ('kind' in read) {
        outbox.push({ id, type: 'failed', error: read });
        outbox.flush();
        return;
      }
      jobs.add(id, request, read);
      notify();
    },
    cancel(id) {
      if (!jobs.cancel(id)) return;
      outbox.flush();
      notify();
    },
    between: (work) =>
      new Promise((resolve, reject) => {
        errands.push(() => native(work).then(resolve, reject));
        notify();
      }),
    stats,
    slots: slots.states,
    busyMs,
    prompts,
    async close() {
      closed = true;
      notify();
      await ended;
      if ((options.kvCache?.diskBytes ?? 0) > 0) await slots.keepAll();
      await store.close();
    },
  };
}

/** Marks how long the native call under way has lasted: the watchdog asks. */
function createNativeClock() {
  let startedMs: number | undefined;
  return {
    async native<T>(work: () => Promise<T>): Promise<T> {
      startedMs = performance.now();
      try {
        return await work();
      } finally {
        startedMs = undefined;
      }
    },
    busyMs: () => (startedMs === undefined ? 0 : performance.now() - startedMs),
  };
}

function openStore({ info }: LlamaModel, { kvCache, kvCacheKeyType, kvCacheValueType }: LoadOptions) {
  const scratch = scratchFolder();
  return openKvStore({
    memoryFolder: scratch.folder,
    memoryBytes: Math.min(kvCache?.memoryBytes ?? 2 ** 30, scratch.bytes),
    diskFolder: kvCache?.directory,
    diskBytes: kvCache?.diskBytes ?? 0,
    modelKey: hashOf(JSON.stringify([info.description, info.sizeBytes, kvCacheKeyType, kvCacheValueType])),
  });
}
