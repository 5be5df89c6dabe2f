import { createChooser } from './chooser.ts';
import { lookUpDraft } from './draft.ts';
import { createDrafter, type DraftWish } from './drafter.ts';
import { createEnergyMeter } from './energy.ts';
import { keptTokens, readRequest } from './intake.ts';
import { type ActiveRequest, createTextWriter, isDecoding, type Job, textOutput, usageOf } from './job.ts';
import { hashOf, openKvStore } from './kv-store.ts';
import type { LlamaContext, LlamaModel } from './llama.ts';
import { createLogprobReader } from './logprobs.ts';
import type {
  EngineError,
  EngineOutput,
  EngineReport,
  EngineStats,
  GenerateRequest,
  LoadOptions,
  SlotState,
} from './protocol.ts';
import { charge, queueDelayMs, schedule } from './scheduler.ts';
import { scratchFolder } from './scratch.ts';
import { createSlots } from './slots.ts';
import { createSpeedMeter, type SpeedMeter } from './speed.ts';
import { runStep, StepError, type StepItem } from './step.ts';
import { createThreadTuner } from './threads.ts';
import { createPromptReader, type PromptReader } from './tokenize.ts';

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

const defaultMaxQueue = 64;
/** Progress of a long prompt is told at most so often. */
const progressEveryMs = 500;
/** A report with every token would be most of what is sent. */
const reportEveryMs = 100;
/** Drafts pay while few sequences decode: a wide batch has no idle compute. */
const maxDraftWidth = 4;
const maxDraftTokens = 8;

export async function createRunner(
  model: LlamaModel,
  context: LlamaContext,
  options: LoadOptions,
  emit: (outputs: readonly EngineOutput[], report: EngineReport | undefined) => void,
  draftModel?: LlamaModel,
): Promise<Runner> {
  const { info } = model;
  const maxQueue = options.maxQueue ?? defaultMaxQueue;
  const prompts = createPromptReader(model);
  const speed = createSpeedMeter();
  const threads = createThreadTuner(info.threads, await warmUp(model, context, speed));
  const logprobs = createLogprobReader(model, context);
  const scratch = scratchFolder();
  const store = await openKvStore({
    memoryFolder: scratch.folder,
    memoryBytes: Math.min(options.kvCache?.memoryBytes ?? 2 ** 30, scratch.bytes),
    diskFolder: options.kvCache?.directory,
    diskBytes: options.kvCache?.diskBytes ?? 0,
    modelKey: hashOf(
      JSON.stringify([info.description, info.sizeBytes, options.kvCacheKeyType, options.kvCacheValueType]),
    ),
  });
  let callStartedMs: number | undefined;
  const native = async <T>(work: () => Promise<T>): Promise<T> => {
    callStartedMs = performance.now();
    try {
      return await work();
    } finally {
      callStartedMs = undefined;
    }
  };
  const slots = createSlots(info.slots, context, store, info.kvBytesPerToken, native);
  const maxModelDraft = options.draft?.max ?? maxDraftTokens;
  const drafter =
    draftModel &&
    (await createDrafter(model, draftModel, {
      slots: info.slots,
      contextTokens: context.contextTokens,
      batchTokens: options.batchTokens ?? 512,
      most: maxModelDraft,
      native,
    }));
  let drafts: ReadonlyMap<number, readonly number[]> = new Map();
  const requests = new Map<number, ActiveRequest>();
  const queue: Job[] = [];
  const served = new Map<string, number>();
  const lastProgress = new WeakMap<ActiveRequest, number>();
  const errands: (() => Promise<void>)[] = [];
  let outputs: EngineOutput[] = [];
  let nextKey = 0;
  let wake: (() => void) | undefined;
  /** Something came while the loop was busy: it looks again before it sleeps. */
  let news = false;
  let closed = false;
  let meanCompletionTokens = 128;
  let activeAdapters = '';
  const energy = createEnergyMeter(options.powercap);
  const totals = {
    steps: 0,
    evaluated: 0,
    prefill: 0,
    prompt: 0,
    cached: 0,
    completion: 0,
    drafted: 0,
    accepted: 0,
    parked: 0,
    joules: 0,
  };
  let batchWidth = 0;
  let reported = { jobs: '0+0', ms: 0 };

  const notify = () => {
    news = true;
    wake?.();
    wake = undefined;
  };
  const waiting = () => queue.filter((job) => job.generated === 0 && job.processed === 0).length;

  function stats(): EngineStats {
    const jobs = slots.running();
    const stepMs = speed.decodeMs(Math.max(1, jobs.length));
    const left = (job: Job): number => {
      const toRead = Math.max(0, job.promptLength - job.processed);
      const expected = Math.min(job.maxTokens, Math.max(meanCompletionTokens, job.generated + 16));
      return toRead * speed.prefillMsPerToken() + Math.max(1, expected - job.generated) * stepMs;
    };
    return {
      running: jobs.length,
      waiting: waiting(),
      parked: queue.length - waiting(),
      slots: info.slots,
      maxQueue,
      slotFreeInMs: jobs.map(left).sort((a, b) => a - b),
      waitingMs: queue.map(left),
      stepMs,
      batchWidth: jobs.length > 0 ? batchWidth : 0,
      prefillMsPerToken: speed.prefillMsPerToken(),
      meanCompletionTokens,
      kvMemoryBytes: store.bytes('memory'),
      kvDiskBytes: store.bytes('disk'),
      totalSteps: totals.steps,
      totalEvaluatedTokens: totals.evaluated,
      totalPromptTokens: totals.prompt,
      totalCachedTokens: totals.cached,
      totalCompletionTokens: totals.completion,
      totalPrefillTokens: totals.prefill,
      totalDraftedTokens: totals.drafted,
      totalAcceptedTokens: totals.accepted,
      totalParked: totals.parked,
      ...(energy ? { totalJoules: totals.joules } : {}),
    };
  }

  /** Sends what there is. The report goes along when others run or wait than before, and else now and then. */
  const flush = () => {
    const jobs = `${slots.running().length}+${queue.length}`;
    if (outputs.length === 0 && jobs === reported.jobs) return;
    const batch = outputs;
    outputs = [];
    const now = performance.now();
    const due = jobs !== reported.jobs || now - reported.ms >= reportEveryMs;
    if (due) reported = { jobs, ms: now };
    emit(batch, due ? { stats: stats(), slots: slots.states() } : undefined);
  };

  function submit(id: number, request: GenerateRequest): void {
    const read =
      overloaded(request) ?? readRequest(request, { model, prompts, options, contextTokens: context.contextTokens });
    if ('kind' in read) {
      outputs.push({ id, type: 'failed', error: read });
      flush();
    } else enqueue(id, request, read);
  }

  function overloaded(request: GenerateRequest): EngineError | undefined {
    const free = Math.max(0, info.slots - slots.running().length);
    if (waiting() + request.choices <= maxQueue + free) return undefined;
    const retryAfterMs = Math.max(250, Math.round(queueDelayMs(stats())));
    return {
      kind: 'overloaded',
      message: `${waiting()} requests are waiting for this model already; try again in ${Math.ceil(retryAfterMs / 1000)} s.`,
      retryAfterMs,
    };
  }

  function enqueue(id: number, request: GenerateRequest, prompt: readonly number[]): void {
    const active: ActiveRequest = {
      id,
      request,
      prompt,
      tenant: hashOf(request.tenant),
      adapters: (request.loras ?? []).map(({ name, scale }) => `${name}=${scale}`).join(','),
      prediction: request.prediction ? [...model.tokenize(request.prediction, false)] : [],
      enqueuedMs: performance.now(),
      jobs: [],
      startedMs: undefined,
      firstTokenMs: undefined,
      cachedTokens: 0,
      acceptedDraftTokens: 0,
      rejectedDraftTokens: 0,
      energyJoules: energy ? 0 : undefined,
      open: request.choices,
    };
    const room = request.overflow === 'shift' ? Number.POSITIVE_INFINITY : context.contextTokens - prompt.length;
    for (let choice = 0; choice < request.choices; choice++) {
      const key = nextKey++;
      active.jobs.push({
        key,
        order: key,
        active,
        choice,
        tokens: [...prompt],
        promptLength: prompt.length,
        maxTokens: Math.min(request.maxTokens ?? Number.POSITIVE_INFINITY, room),
        writer: createTextWriter(request.stop),
        chooser: undefined,
        draft: [],
        untriggered: request.grammar?.triggers ? '' : undefined,
        slot: undefined,
        processed: 0,
        generated: 0,
        lastStep: 0,
        shifted: false,
        parkedAt: undefined,
        done: false,
      });
    }
    requests.set(id, active);
    queue.push(...active.jobs);
    notify();
  }

  function cancel(id: number): void {
    const active = requests.get(id);
    if (!active) return;
    requests.delete(id);
    for (const job of active.jobs) end(job);
    flush();
    notify();
  }

  /** Takes a job out of the queue or its slot. */
  function end(job: Job): void {
    if (job.done) return;
    job.done = true;
    job.active.open--;
    const at = queue.indexOf(job);
    if (at >= 0) queue.splice(at, 1);
    slots.release(job);
    job.chooser?.dispose();
    job.chooser = undefined;
  }

  function finish(job: Job, reason: 'stop' | 'length', stopSequence?: string): void {
    const { id } = job.active;
    if (stopSequence === undefined) job.writer.flush();
    const text = textOutput(job);
    if (text) outputs.push(text);
    outputs.push({ id, type: 'finish', choice: job.choice, reason, ...(stopSequence ? { stopSequence } : {}) });
    meanCompletionTokens += 0.1 * (job.generated - meanCompletionTokens);
    end(job);
    if (job.active.open === 0) {
      outputs.push({ id, type: 'done', usage: usageOf(job.active, performance.now()) });
      requests.delete(id);
    }
  }

  function fail(active: ActiveRequest, what: string, error: unknown): void {
    if (!requests.delete(active.id)) return;
    for (const job of active.jobs) end(job);
    const message = `${what}: ${error instanceof Error ? error.message : 'unknown error'}`;
    outputs.push({ id: active.id, type: 'failed', error: { kind: 'engine_failed', message } });
  }

  /** Gives waiting jobs slots and parks others for them, as the scheduler says. */
  async function admit(): Promise<void> {
    if (queue.length === 0) return;
    const full = slots.running().length === info.slots;
    if (full && !queue.some((job) => job.active.request.priority === 'interactive')) return;
    const describe = (job: Job) => ({
      key: job.key,
      tenant: job.active.tenant,
      priority: job.active.request.priority,
      order: job.order,
    });
    const { park, start } = schedule({
      queue: queue.map(describe),
      running: slots.running().map((job) => ({ ...describe(job), slot: job.slot ?? 0, parkable: !job.shifted })),
      slots: info.slots,
      served,
    });
    for (const key of park) {
      const job = slots.running().find((candidate) => candidate.key === key);
      if (!job) continue;
      job.draft = [];
      totals.parked++;
      await slots.park(job);
      if (!job.done) queue.push(job);
    }
    for (const key of start) {
      const job = queue.find((candidate) => candidate.key === key);
      if (!job) continue;
      const placement = slots.place(job);
      if (!placement) return;
      if (job.parkedAt === undefined && slots.isBeingRead(job, placement.cachedTokens)) continue;
      queue.splice(queue.indexOf(job), 1);
      const cached = await slots.occupy(job, placement);
      if (!job.done) begin(job, cached);
    }
  }

  function begin(job: Job, cached: number): void {
    const { active } = job;
    job.chooser ??= createChooser(model, context, active.request, job.choice, active.prompt);
    if (active.startedMs !== undefined) return;
    active.startedMs = performance.now();
    active.cachedTokens = cached;
    totals.prompt += active.prompt.length;
    totals.cached += cached;
    outputs.push({ id: active.id, type: 'prompt', promptTokens: active.prompt.length, cachedTokens: cached });
  }

  async function step(): Promise<boolean> {
    energy?.take(); // what was used since the last step was not for this one
    await draftAhead();
    const jobs = slots.running();
    let items: readonly StepItem[];
    try {
      const result = await runStep(jobs, context, speed, threads, options, queue.length > 0, async (chosen) => {
        await switchAdapters(chosen[0]?.job.active);
        await native(() => {
          const running = context.decode();
          flush(); // what the last step brought goes out while this one computes
          return running;
        });
      });
      if (!result) return false;
      items = result.items;
      totals.prefill += result.prefill;
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      for (const { job, slot } of error.items) {
        fail(job.active, 'The engine could not evaluate this request', error);
        slots.clear(slot);
      }
      return true;
    }
    totals.steps++;
    batchWidth = items.length;
    account(items, energy?.take() ?? 0);
    const sampled = items.filter(({ places, job }) => places.length > 0 && !job.done);
    // The first sample settles the order of the batch's outputs inside llama.cpp; after it the others may run at once.
    const [first, ...rest] = sampled;
    if (first) await sample(first);
    await Promise.all(rest.map(sample));
    return true;
  }

  /** Guesses the next tokens of decoding jobs: from their own texts where those were asked for, else by the draft model. */
  async function draftAhead(): Promise<void> {
    const jobs = slots.running();
    const width = jobs.filter(isDecoding).length;
    const wishes: DraftWish[] = [];
    for (const job of jobs) {
      job.draft = [];
      const { request, prediction, tenant } = job.active;
      const room = Math.min(job.maxTokens - job.generated - 1, context.contextTokens - job.tokens.length - 1);
      if (!isDecoding(job) || width > maxDraftWidth || room <= 0) continue;
      if (request.promptLookup || prediction.length > 0) {
        job.draft = lookUpDraft([job.tokens, prediction], Math.min(room, maxDraftTokens));
      }
      const most = request.deterministic ? 0 : Math.min(room, maxModelDraft, request.maxDraft ?? maxModelDraft);
      if (!drafter || job.draft.length > 0 || job.slot === undefined || most <= 0) continue;
      wishes.push({ slot: job.slot, tenant, tokens: job.tokens, room: most });
    }
    if (!drafter || wishes.length === 0) return;
    drafts = await drafter.propose(wishes);
    for (const job of slots.running()) job.draft = drafts.get(job.slot ?? -1) ?? job.draft;
  }

  async function switchAdapters(active: ActiveRequest | undefined): Promise<void> {
    if (!active || active.adapters === activeAdapters) return;
    const adapters = (active.request.loras ?? []).map(({ name, scale }) => ({
      path: options.loras?.find((lora) => lora.name === name)?.path ?? '',
      scale,
    }));
    await context.setAdapters(adapters);
    activeAdapters = active.adapters;
  }

  function account(items: readonly StepItem[], joules: number): void {
    const now = performance.now();
    const tenants = new Set(slots.running().map((job) => job.active.tenant));
    const evaluated = items.reduce((sum, { tokens }) => sum + tokens.length, 0);
    totals.joules += joules;
    for (const { job, tokens } of items) {
      totals.evaluated += tokens.length;
      if (joules > 0) job.active.energyJoules = (job.active.energyJoules ?? 0) + (joules * tokens.length) / evaluated;
      job.lastStep = totals.steps;
      charge(served, job.active.tenant, tokens.length, tenants);
      if (!job.done && job.choice === 0 && job.generated === 0) reportProgress(job, job.processed + tokens.length, now);
    }
    for (const tenant of served.keys()) if (served.size > 1000 && !tenants.has(tenant)) served.delete(tenant);
    for (const { job, tokens } of items) {
      // Drafted tokens count only once they are accepted.
      job.processed = Math.min(job.processed + tokens.length, job.tokens.length);
    }
  }

  function reportProgress(job: Job, processedTokens: number, now: number): void {
    if (processedTokens >= job.promptLength) return;
    if (now - (lastProgress.get(job.active) ?? job.active.startedMs ?? 0) < progressEveryMs) return;
    lastProgress.set(job.active, now);
    outputs.push({ id: job.active.id, type: 'progress', processedTokens, totalTokens: job.promptLength });
  }

  /** Chooses the next token at the first place of an item, and goes on along its draft while that is right. */
  async function sample({ job, tokens, places }: StepItem): Promise<void> {
    const { active } = job;
    try {
      let used = 0;
      if (active.request.echo && job.generated === 0) {
        used = await echo(job, tokens, places);
        if (used < 0 || job.done) return;
      }
      const draft = job.draft;
      job.draft = [];
      totals.drafted += draft.length;
      const { slot } = job;
      const learn = (accepted: number) => {
        if (slot !== undefined && drafts.get(slot) === draft) drafter?.learn(slot, draft.length, accepted);
      };
      for (let i = 0; used + i < places.length; i++) {
        const place = places[used + i] ?? 0;
        const token = await chooseAt(job, place);
        if (token === undefined || job.done) return;
        if (draft[i] === undefined) return learn(i);
        if (draft[i] !== token) {
          active.rejectedDraftTokens += draft.length - i;
          learn(i);
          if (job.slot !== undefined) context.truncate(job.slot, job.processed);
          return;
        }
        active.acceptedDraftTokens++;
        totals.accepted++;
        job.processed++;
      }
    } catch (error) {
      fail(active, 'Choosing the next token failed', error);
    }
  }

  /** The token chosen at `place`, accepted into the job; undefined when the answer ended. */
  async function chooseAt(job: Job, place: number): Promise<number | undefined> {
    const { active, chooser } = job;
    if (!chooser) return undefined;
    if (job.maxTokens <= 0) {
      finish(job, 'length');
      return undefined;
    }
    const token = await chooser.choose(place);
    if (job.done) return undefined;
    active.firstTokenMs ??= performance.now();
    if (token < 0 || model.isEndOfGeneration(token)) {
      finish(job, 'stop');
      return undefined;
    }
    const wanted = active.request.logprobs;
    const logprob = wanted ? await logprobs.read(place, token, wanted.top) : undefined;
    if (job.done) return undefined;
    accept(job, token, logprob);
    return job.done ? undefined : token;
  }

  /**
   * Gives the prompt back, with log-probabilities where wanted. Returns how many places were prompt positions, or -1
   * when the prompt is not read to its end yet.
   */
  async function echo(job: Job, tokens: Uint32Array, places: Uint32Array): Promise<number> {
    const { request } = job.active;
    const start = job.processed - tokens.length;
    const push = (token: number, logprob: Parameters<typeof job.writer.push>[1]) =>
      job.writer.echo(model.tokenBytes(token, true), logprob);
    if (!request.logprobs) {
      for (const token of job.tokens) push(token, undefined);
      return 0;
    }
    const first = job.tokens[0];
    if (start === 0 && first !== undefined) push(first, logprobs.unknown(first));
    let used = 0;
    for (let position = start + 1; position <= job.processed && position < job.promptLength; position++) {
      const token = job.tokens[position] ?? 0;
      push(token, await logprobs.read(places[used++] ?? 0, token, request.logprobs.top));
      if (job.done) return -1;
    }
    const text = textOutput(job);
    if (text) outputs.push(text);
    return job.processed < job.promptLength ? -1 : used;
  }

  function accept(job: Job, token: number, logprob: Parameters<typeof job.writer.push>[1]): void {
    const { request } = job.active;
    job.tokens.push(token);
    job.generated++;
    totals.completion++;
    if (job.generated === request.minTokens) job.chooser?.allowEnd();
    const bytes = model.tokenBytes(token, request.specialTokens === true);
    if (job.untriggered !== undefined) watchTrigger(job, new TextDecoder().decode(bytes));
    const stopped = job.writer.push(bytes, logprob);
    const full = job.tokens.length >= context.contextTokens;
    if (stopped !== undefined) finish(job, 'stop', stopped);
    else if (job.generated >= job.maxTokens || (full && !makeRoom(job))) finish(job, 'length');
    else {
      const text = textOutput(job);
      if (text) outputs.push(text);
    }
  }

  /** Switches a lazy grammar on when its trigger has been written. */
  function watchTrigger(job: Job, text: string): void {
    job.untriggered += text;
    for (const trigger of job.active.request.grammar?.triggers ?? []) {
      const at = job.untriggered?.indexOf(trigger) ?? -1;
      if (at < 0) continue;
      job.chooser?.startGrammar(job.untriggered?.slice(at + trigger.length) ?? '');
      job.untriggered = undefined;
      return;
    }
    job.untriggered = job.untriggered?.slice(-256);
  }

  /** Forgets the older half of the context behind its first tokens, where the request asked for that. */
  function makeRoom(job: Job): boolean {
    if (job.active.request.overflow !== 'shift' || job.slot === undefined) return false;
    const keep = Math.min(keptTokens, job.promptLength);
    const discard = Math.floor((job.processed - keep) / 2);
    if (discard <= 0 || !context.shift(job.slot, keep, keep + discard)) return false;
    job.tokens.splice(keep, discard);
    job.processed -= discard;
    job.shifted = true;
    return true;
  }

  async function loop(): Promise<void> {
    while (!closed) {
      news = false;
      await errands.shift()?.(); // one between two steps, so that streams go on
      if (queue.length > 0) flush(); // it may take a while
      await admit();
      const worked = await step();
      if (!worked) flush();
      if (!worked && !news && !closed && errands.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  const ended = loop();
  return {
    submit,
    cancel,
    between: (work) =>
      new Promise((resolve, reject) => {
        errands.push(() => native(work).then(resolve, reject));
        notify();
      }),
    stats,
    slots: slots.states,
    busyMs: () => (callStartedMs === undefined ? 0 : performance.now() - callStartedMs),
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

/**
 * The first pass reads the weights and starts the threads; the next is the first measurement. Returns the threads to
 * begin with: all, or one where the machine is so busy that one is faster.
 */
async function warmUp(model: LlamaModel, context: LlamaContext, speed: SpeedMeter): Promise<number> {
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
