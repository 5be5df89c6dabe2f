import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type BatchCandidate, planStep, prefillBudget, promptGrain } from './batch-policy.ts';
import { type ActiveRequest, createTextWriter, isDecoding, type Job, textOutput, usageOf } from './job.ts';
import type { LlamaContext, LlamaModel, SamplerConfig } from './llama.ts';
import { createLogprobReader, type LogprobReader } from './logprobs.ts';
import { commonPrefix, minCopyTokens, type PrefixQuery, place, type SlotView } from './prefix.ts';
import type { EngineError, EngineOutput, EngineStats, GenerateRequest, LoadOptions } from './protocol.ts';
import { withDefaults } from './sampling.ts';
import { charge, queueDelayMs, schedule } from './scheduler.ts';
import { scratchFolder } from './scratch.ts';
import { createSpeedMeter } from './speed.ts';
import { createPromptReader, PromptError, type PromptReader } from './tokenize.ts';

/** The engine's loop over one context: schedule, run, apply. */
export interface Runner {
  submit(id: number, request: GenerateRequest): void;
  cancel(id: number): void;
  /** Runs `work` between two steps, when nothing else touches the native context. */
  between<T>(work: () => Promise<T>): Promise<T>;
  stats(): EngineStats;
  /** Milliseconds that the native call under way has lasted; 0 between calls. */
  busyMs(): number;
  readonly prompts: PromptReader;
}

/** A step that only reads prompts lasts about so long, so that a cancelled prompt frees its slot soon. */
const prefillStepMs = 70;
const defaultMaxQueue = 64;
const defaultSlowdown = 2.4;
/** Spelled-out progress at most so often. */
const progressEveryMs = 500;

interface Slot {
  readonly index: number;
  tokens: number[];
  tenant: string | undefined;
  cacheKey: string | undefined;
  adapters: string;
  lastUsedMs: number;
  job: Job | undefined;
}

export async function createRunner(
  model: LlamaModel,
  context: LlamaContext,
  options: LoadOptions,
  emit: (outputs: readonly EngineOutput[], stats: EngineStats) => void,
): Promise<Runner> {
  const slotCount = model.info.slots;
  const batchTokens = options.batchTokens ?? 512;
  const maxQueue = options.maxQueue ?? defaultMaxQueue;
  const prompts = createPromptReader(model);
  const speed = createSpeedMeter();
  const slots: Slot[] = Array.from({ length: slotCount }, (_, index) => ({
    index,
    tokens: [],
    tenant: undefined,
    cacheKey: undefined,
    adapters: '',
    lastUsedMs: 0,
    job: undefined,
  }));
  const requests = new Map<number, ActiveRequest>();
  const queue: Job[] = [];
  const served = new Map<string, number>();
  const scratchFile = join(scratchFolder(), `tidegate-kv-${process.pid}`);
  process.once('exit', () => rmSync(scratchFile, { force: true }));
  const errands: (() => Promise<void>)[] = [];
  let outputs: EngineOutput[] = [];
  let nextKey = 0;
  let wake: (() => void) | undefined;
  /** Something came while the loop was busy: it looks again before it sleeps. */
  let news = false;
  let callStartedMs: number | undefined;
  const logprobs = createLogprobReader(model, context);
  let meanCompletionTokens = 128;
  let activeAdapters = '';
  const totals = { steps: 0, prompt: 0, cached: 0, completion: 0 };

  const notify = () => {
    news = true;
    wake?.();
    wake = undefined;
  };
  const native = async <T>(work: () => Promise<T>): Promise<T> => {
    callStartedMs = performance.now();
    try {
      return await work();
    } finally {
      callStartedMs = undefined;
    }
  };
  const running = (): Job[] => slots.flatMap((slot) => (slot.job ? [slot.job] : []));

  function stats(): EngineStats {
    const jobs = running();
    const stepMs = speed.decodeMs(Math.max(1, jobs.length));
    const left = (job: Job): number => {
      const toRead = Math.max(0, job.promptLength - job.processed);
      const expected = Math.min(job.maxTokens, Math.max(meanCompletionTokens, job.generated + 16));
      return toRead * speed.prefillMsPerToken() + Math.max(1, expected - job.generated) * stepMs;
    };
    return {
      running: jobs.length,
      waiting: queue.filter((job) => job.parkedAt === undefined).length,
      parked: queue.filter((job) => job.parkedAt !== undefined).length,
      slots: slotCount,
      maxQueue,
      slotFreeInMs: jobs.map(left).sort((a, b) => a - b),
      waitingMs: queue.map(left),
      stepMs,
      prefillMsPerToken: speed.prefillMsPerToken(),
      meanCompletionTokens,
      kvMemoryBytes: 0,
      kvDiskBytes: 0,
      totalSteps: totals.steps,
      totalPromptTokens: totals.prompt,
      totalCachedTokens: totals.cached,
      totalCompletionTokens: totals.completion,
    };
  }

  const flush = () => {
    if (outputs.length === 0) return;
    const batch = outputs;
    outputs = [];
    emit(batch, stats());
  };

  function submit(id: number, request: GenerateRequest): void {
    const read = readPrompt(request);
    if (Array.isArray(read)) enqueue(id, request, read);
    else {
      outputs.push({ id, type: 'failed', error: read });
      flush();
    }
  }

  /** The prompt's tokens, or why the request is refused. */
  function readPrompt(request: GenerateRequest): number[] | EngineError {
    const waiting = queue.filter((job) => job.parkedAt === undefined).length;
    if (waiting + request.choices > maxQueue + Math.max(0, slotCount - running().length)) {
      const retryAfterMs = Math.max(250, Math.round(queueDelayMs(stats())));
      return {
        kind: 'overloaded',
        message: `${waiting} requests are waiting for this model already; try again in ${Math.ceil(retryAfterMs / 1000)} s.`,
        retryAfterMs,
      };
    }
    const param = request.prompt.kind === 'chat' ? 'messages' : 'prompt';
    let prompt: number[];
    try {
      prompt = prompts.read(request.prompt);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { kind: 'invalid_request', message, param: error instanceof PromptError ? error.param : param };
    }
    if (prompt.length === 0) return { kind: 'invalid_request', message: 'The prompt is empty.', param };
    if (prompt.length >= context.contextTokens) {
      return {
        kind: 'context_length_exceeded',
        message: `This model's maximum context length is ${context.contextTokens} tokens. However, your messages resulted in ${prompt.length} tokens. Please reduce the length of the messages.`,
        param,
      };
    }
    const unknown = request.loras?.find(({ name }) => !options.loras?.some((known) => known.name === name));
    if (unknown) {
      return { kind: 'invalid_request', message: `There is no LoRA adapter "${unknown.name}".`, param: 'lora' };
    }
    try {
      if (request.grammar) model.createGrammarState(request.grammar.gbnf);
    } catch {
      return { kind: 'invalid_request', message: 'The grammar does not parse as GBNF.', param: 'grammar' };
    }
    return prompt;
  }

  function enqueue(id: number, request: GenerateRequest, prompt: readonly number[]): void {
    const active: ActiveRequest = {
      id,
      request,
      prompt,
      adapters: (request.loras ?? []).map(({ name, scale }) => `${name}=${scale}`).join(','),
      enqueuedMs: performance.now(),
      jobs: [],
      startedMs: undefined,
      firstTokenMs: undefined,
      cachedTokens: 0,
      acceptedDraftTokens: 0,
      rejectedDraftTokens: 0,
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
        sampler: undefined,
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
    notify();
  }

  /** Takes a job out of the queue or its slot; the slot's KV stays for the next prompt. */
  function end(job: Job): void {
    if (job.done) return;
    job.done = true;
    job.active.open--;
    const waiting = queue.indexOf(job);
    if (waiting >= 0) queue.splice(waiting, 1);
    if (job.slot !== undefined) release(job);
    job.sampler?.dispose();
    job.sampler = undefined;
  }

  function release(job: Job): void {
    const slot = slots[job.slot ?? -1];
    job.slot = undefined;
    if (!slot) return;
    const keep = !job.shifted && job.active.request.cachePrompt !== false;
    slot.tokens = keep ? job.tokens.slice(0, job.processed) : [];
    slot.lastUsedMs = performance.now();
    slot.job = undefined;
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

  function failRequest(active: ActiveRequest, error: EngineError): void {
    if (!requests.delete(active.id)) return;
    for (const job of active.jobs) end(job);
    outputs.push({ id: active.id, type: 'failed', error });
  }

  const view = (slot: Slot): SlotView => ({
    index: slot.index,
    tokens: slot.job ? (slot.job.shifted ? [] : slot.job.tokens.slice(0, slot.job.processed)) : slot.tokens,
    tenant: slot.tenant,
    cacheKey: slot.cacheKey,
    adapters: slot.adapters,
    busy: slot.job !== undefined,
    lastUsedMs: slot.lastUsedMs,
  });

  /** Gives waiting jobs slots, as the scheduler says. */
  async function admit(): Promise<void> {
    if (queue.length === 0) return;
    const describe = (job: Job) => ({
      key: job.key,
      tenant: job.active.request.tenant,
      priority: job.active.request.priority,
      order: job.order,
    });
    const { start } = schedule({
      queue: queue.map(describe),
      running: running().map((job) => ({ ...describe(job), slot: job.slot ?? 0, parkable: false })),
      slots: slotCount,
      served,
    });
    for (const key of start) {
      const job = queue.find((candidate) => candidate.key === key);
      if (!job) continue;
      const { request, adapters } = job.active;
      const query: PrefixQuery = {
        tokens: job.tokens,
        tenant: request.tenant,
        cacheKey: request.cacheKey,
        adapters,
        reuse: request.cachePrompt !== false,
      };
      const views = slots.map(view);
      const placement = place(query, views, []);
      if (!placement) return;
      if (query.reuse && isBeingRead(job, query, placement.cachedTokens)) continue;
      const slot = slots[placement.slot];
      if (!slot) continue;
      if (!(await occupy(slot, job, placement.source, placement.cachedTokens))) continue;
      queue.splice(queue.indexOf(job), 1);
    }
  }

  /** Another slot is just reading a prefix that this job needs too: wait for it and copy. */
  function isBeingRead(job: Job, query: PrefixQuery, cachedTokens: number): boolean {
    return running().some((other) => {
      const slot = slots[other.slot ?? -1];
      if (!slot || slot.tenant !== query.tenant || slot.adapters !== query.adapters || other.shifted) return false;
      const shared = commonPrefix(other.tokens, job.tokens, Math.min(other.promptLength, job.tokens.length - 1));
      return shared > other.processed && shared >= cachedTokens + minCopyTokens;
    });
  }

  async function occupy(
    slot: Slot,
    job: Job,
    source: { readonly type: string; readonly from?: number },
    cachedTokens: number,
  ): Promise<boolean> {
    let cached = cachedTokens;
    if (source.type === 'copy' && source.from !== undefined) {
      cached = (await copy(source.from, slot.index, cachedTokens)) ? cachedTokens : 0;
    }
    if (job.done) {
      slot.tokens = [];
      return false;
    }
    if (cached === 0 || !context.truncate(slot.index, cached)) {
      context.truncate(slot.index, 0);
      cached = 0;
    }
    slot.tokens = [];
    slot.job = job;
    slot.tenant = job.active.request.tenant;
    slot.cacheKey = job.active.request.cacheKey;
    slot.adapters = job.active.adapters;
    job.slot = slot.index;
    job.processed = cached;
    job.sampler ??= model.createSampler(samplerConfig(job));
    const { active } = job;
    if (active.startedMs === undefined) {
      active.startedMs = performance.now();
      active.cachedTokens = cached;
      totals.prompt += active.prompt.length;
      totals.cached += cached;
      outputs.push({ id: active.id, type: 'prompt', promptTokens: active.prompt.length, cachedTokens: cached });
    }
    return true;
  }

  /** KV of one sequence into another. The binding copies only through a file; in a memory file system that is a memcpy. */
  async function copy(from: number, to: number, tokens: number): Promise<boolean> {
    const holder = slots[from];
    if (!holder) return false;
    const held = view(holder).tokens;
    try {
      await native(() => context.save(from, scratchFile, Uint32Array.from(held)));
      await native(() => context.load(to, scratchFile));
      return context.truncate(to, tokens);
    } catch {
      context.truncate(to, 0); // no room for the file: the prompt is read again
      return false;
    }
  }

  function samplerConfig(job: Job): SamplerConfig {
    const { request } = job.active;
    const seed = request.sampling.seed ?? Math.floor(Math.random() * 2 ** 32);
    const penaltyWindow = request.sampling.repeatLastN ?? 64;
    const repeat = (request.sampling.repeatPenalty ?? 1) !== 1;
    return {
      ...withDefaults(request.sampling, (seed + job.choice) >>> 0),
      // OpenAI's penalties count the answer only, llama.cpp's repeat penalty the end of the prompt too.
      history: Uint32Array.from(repeat ? job.tokens.slice(-penaltyWindow) : []),
      repeatLastN: repeat ? penaltyWindow : context.contextTokens,
      ...(request.sampling.ignoreEos || (request.minTokens ?? 0) > 0 ? { bans: model.endTokens } : {}),
      ...(request.grammar && !request.grammar.triggers
        ? { grammar: model.createGrammarState(request.grammar.gbnf) }
        : {}),
    };
  }

  function limits(jobs: readonly Job[]) {
    const width = jobs.filter(isDecoding).length;
    const perToken = speed.prefillMsPerToken();
    const alone = Math.max(16, Math.floor(prefillStepMs / perToken / promptGrain) * promptGrain);
    return {
      batchTokens: width > 0 ? batchTokens : Math.min(batchTokens, alone),
      prefillTokens:
        width > 0
          ? prefillBudget(
              { decodeMs: speed.decodeMs(width), prefillMsPerToken: perToken },
              options.prefillSlowdown ?? defaultSlowdown,
              batchTokens,
            )
          : batchTokens,
    };
  }

  async function step(): Promise<boolean> {
    const jobs = running();
    const candidates: BatchCandidate[] = jobs.map((job) => ({
      slot: job.slot ?? 0,
      pendingTokens: job.tokens.length - job.processed,
      decoding: isDecoding(job),
      order: job.order,
      adapters: job.active.adapters,
      alone: job.active.request.deterministic === true,
      lastStep: job.lastStep,
    }));
    const shares = planStep(candidates, limits(jobs));
    if (shares.length === 0) return false;
    totals.steps++;
    const work = shares.flatMap(({ slot, tokens }) => {
      const job = slots[slot]?.job;
      return job ? [{ job, slot, tokens, place: -1 }] : [];
    });
    const startedMs = performance.now();
    try {
      await switchAdapters(work[0]?.job.active);
      context.begin(work.reduce((sum, { tokens }) => sum + tokens, 0));
      for (const item of work) {
        const { job, tokens } = item;
        const last = job.processed + tokens === job.tokens.length;
        const places = context.add(
          item.slot,
          job.processed,
          Uint32Array.from(job.tokens.slice(job.processed, job.processed + tokens)),
          last ? Uint32Array.of(tokens - 1) : new Uint32Array(0),
        );
        item.place = places[0] ?? -1;
      }
      await native(() => context.decode());
    } catch (error) {
      for (const { job, slot } of work) {
        failRequest(job.active, {
          kind: 'engine_failed',
          message: `The engine could not evaluate this request: ${error instanceof Error ? error.message : 'unknown error'}`,
        });
        context.truncate(slot, 0);
        const owner = slots[slot];
        if (owner) owner.tokens = [];
      }
      return true;
    }
    account(work, performance.now() - startedMs);
    const sampled = work.filter(({ job, place }) => place >= 0 && !job.done);
    // The first sample settles the order of the batch's outputs inside llama.cpp; after it the others may run at once.
    const [first, ...rest] = sampled;
    if (first) await sampleInto(first.job, first.place);
    await Promise.all(rest.map(({ job, place }) => sampleInto(job, place)));
    return true;
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

  function account(work: readonly { job: Job; tokens: number }[], ms: number): void {
    let decoding = 0;
    let prefill = 0;
    const now = performance.now();
    const tenants = new Set(running().map((job) => job.active.request.tenant));
    for (const { job, tokens } of work) {
      if (isDecoding(job)) decoding++;
      else prefill += tokens;
      job.processed += tokens;
      job.lastStep = totals.steps;
      charge(served, job.active.request.tenant, tokens, tenants);
      if (!job.done) reportProgress(job, now);
    }
    speed.record(decoding, prefill, ms);
  }

  const lastProgress = new WeakMap<ActiveRequest, number>();
  function reportProgress(job: Job, now: number): void {
    if (job.choice !== 0 || job.processed >= job.promptLength) return;
    if (now - (lastProgress.get(job.active) ?? job.active.startedMs ?? 0) < progressEveryMs) return;
    lastProgress.set(job.active, now);
    outputs.push({
      id: job.active.id,
      type: 'progress',
      processedTokens: job.processed,
      totalTokens: job.promptLength,
    });
  }

  async function sampleInto(job: Job, place: number): Promise<void> {
    const { sampler, active } = job;
    if (!sampler) return;
    try {
      const token = await context.sample(place, sampler);
      if (job.done) return;
      active.firstTokenMs ??= performance.now();
      if (token < 0 || model.isEndOfGeneration(token)) {
        finish(job, 'stop');
        return;
      }
      const wanted = active.request.logprobs;
      const logprob = wanted ? await logprobs.read(place, token, wanted.top) : undefined;
      if (job.done) return;
      accept(job, token, logprob);
    } catch (error) {
      failRequest(active, {
        kind: 'engine_failed',
        message: `Choosing the next token failed: ${error instanceof Error ? error.message : 'unknown error'}`,
      });
    }
  }

  function accept(job: Job, token: number, logprob: Awaited<ReturnType<LogprobReader['read']>> | undefined): void {
    const { request } = job.active;
    job.tokens.push(token);
    job.generated++;
    totals.completion++;
    if (job.generated === request.minTokens && !request.sampling.ignoreEos) {
      job.sampler?.configure({ ...samplerConfig(job), bans: [] });
    }
    const stopped = job.writer.push(model.tokenBytes(token, request.specialTokens === true), logprob);
    const full = job.tokens.length >= context.contextTokens;
    if (stopped !== undefined) finish(job, 'stop', stopped);
    else if (job.generated >= job.maxTokens || (full && !makeRoom(job))) finish(job, 'length');
    else {
      const text = textOutput(job);
      if (text) outputs.push(text);
    }
  }

  /** Forgets the older half of the context behind its first tokens, where the request asked for that. */
  function makeRoom(job: Job): boolean {
    if (job.active.request.overflow !== 'shift' || job.slot === undefined) return false;
    const keep = Math.min(32, job.promptLength);
    const discard = Math.floor((job.processed - keep) / 2);
    if (discard <= 0 || !context.shift(job.slot, keep, keep + discard)) return false;
    job.tokens.splice(keep, discard);
    job.processed -= discard;
    job.shifted = true;
    return true;
  }

  async function loop(): Promise<never> {
    for (;;) {
      news = false;
      for (let errand = errands.shift(); errand; errand = errands.shift()) await errand();
      await admit();
      flush();
      const worked = await step();
      flush();
      if (!worked && !news) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  /** The first pass reads the weights from disk and warms the threads up; it also gives the first measurement. */
  async function warmUp(): Promise<void> {
    const tokens = Uint32Array.from({ length: Math.min(32, batchTokens) }, () => model.bosToken ?? 0);
    for (let round = 0; round < 2; round++) {
      const startedMs = performance.now();
      context.begin(tokens.length);
      context.add(0, 0, tokens, Uint32Array.of(tokens.length - 1));
      await context.decode();
      if (round > 0) speed.record(0, tokens.length, performance.now() - startedMs);
      context.truncate(0, 0);
    }
  }

  await warmUp();
  void loop();
  return {
    submit,
    cancel,
    between: (work) =>
      new Promise((resolve, reject) => {
        errands.push(() => native(work).then(resolve, reject));
        notify();
      }),
    stats,
    busyMs: () => (callStartedMs === undefined ? 0 : performance.now() - callStartedMs),
    prompts,
  };
}
