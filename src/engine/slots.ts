import { isDecoding, type Job } from './job.ts';
import type { KvStore } from './kv-store.ts';
import type { LlamaContext } from './llama-context.ts';
import { commonPrefix, type Placement, type PrefixQuery, place, type SlotView } from './prefix.ts';
import type { SlotState } from './protocol.ts';

/** The sequences of the context, who uses them, and the KV's ways between them and the store. */
export interface Slots {
  running(): Job[];
  /** What each slot does and holds, for people to look at. */
  states(): readonly SlotState[];
  jobIn(slot: number): Job | undefined;
  /** Where a job would go now; null when no slot is idle. */
  place(job: Job): Placement | null;
  /** Another slot is just reading a prefix that this job needs too: better wait for it and copy. */
  isBeingRead(job: Job, cachedTokens: number): boolean;
  /** Gives the job its slot with the KV of `placement`; resolves with the tokens whose KV is there. */
  occupy(job: Job, placement: Placement): Promise<number>;
  /** Takes the job out of its slot; the KV stays for the next prompt. */
  release(job: Job): void;
  /** Sets the job's KV aside and takes it out of its slot. */
  park(job: Job): Promise<void>;
  /** Forgets what a slot holds. */
  clear(slot: number): void;
  /** Saves what idle slots hold into the store. */
  keepAll(): Promise<void>;
}

interface Slot {
  readonly index: number;
  /** What the KV holds while nobody uses the slot. */
  tokens: number[];
  tenant: string | undefined;
  cacheKey: string | undefined;
  adapters: string;
  lastUsedMs: number;
  /** Tokens that the last prompt found here. */
  reused: number;
  job: Job | undefined;
}

/** A prefix that another slot is reading is waited for when it saves so many tokens. */
const worthWaiting = 16;
/** Fewer tokens than this are not worth a file. */
const worthKeeping = 64;

export function createSlots(
  count: number,
  context: LlamaContext,
  store: KvStore,
  kvBytesPerToken: number,
  native: <T>(work: () => Promise<T>) => Promise<T>,
): Slots {
  const slots: Slot[] = Array.from({ length: count }, (_, index) => ({
    index,
    tokens: [],
    tenant: undefined,
    cacheKey: undefined,
    adapters: '',
    lastUsedMs: 0,
    reused: 0,
    job: undefined,
  }));
  const running = () => slots.flatMap((slot) => (slot.job ? [slot.job] : []));
  const held = (slot: Slot): readonly number[] => {
    if (!slot.job) return slot.tokens;
    return slot.job.shifted || !mayShare(slot.job) ? [] : slot.job.tokens.slice(0, slot.job.processed);
  };
  const view = (slot: Slot): SlotView => ({
    index: slot.index,
    tokens: held(slot),
    tenant: slot.tenant,
    cacheKey: slot.cacheKey,
    adapters: slot.adapters,
    busy: slot.job !== undefined,
    lastUsedMs: slot.lastUsedMs,
  });
  const save = (slot: number, tokens: readonly number[]) => (path: string) =>
    native(() => context.save(slot, path, Uint32Array.from(tokens)));

  /** Loads a state file; true when it holds what it should, cut to `tokens`. */
  async function load(slot: number, path: string, expected: ArrayLike<number>, tokens: number): Promise<boolean> {
    try {
      const loaded = await native(() => context.load(slot, path));
      // A damaged or mistaken file must never become somebody's conversation.
      if (commonPrefix(loaded, expected) >= tokens && context.truncate(slot, tokens)) return true;
    } catch {
      // no room for the file, or not readable: the prompt is read again
    }
    context.truncate(slot, 0);
    return false;
  }

  async function copy(from: number, to: number, tokens: number): Promise<boolean> {
    const holder = slots[from];
    if (!holder) return false;
    const content = held(holder);
    try {
      await save(from, content)(store.scratchFile);
    } catch {
      context.truncate(to, 0);
      return false;
    }
    return load(to, store.scratchFile, content, tokens);
  }

  /** Keeps what an idle slot holds, when that is about to be overwritten. */
  async function remember(slot: Slot): Promise<void> {
    const { tokens, tenant, adapters } = slot;
    if (tokens.length < worthKeeping || tenant === undefined) return;
    await store.keep({ tokens, tenant, adapters }, save(slot.index, tokens));
  }

  async function fetch(slot: Slot, { source, cachedTokens }: Placement): Promise<number> {
    switch (source.type) {
      case 'none':
        context.truncate(slot.index, 0);
        return 0;
      case 'slot':
        if (context.truncate(slot.index, cachedTokens)) return cachedTokens;
        context.truncate(slot.index, 0); // models that can't forget a part
        return 0;
      case 'copy':
        return (await copy(source.from, slot.index, cachedTokens)) ? cachedTokens : 0;
      case 'stored': {
        const entry = store.entries().find(({ id }) => id === source.id);
        if (!entry) return fetch(slot, { slot: slot.index, cachedTokens: 0, source: { type: 'none' } });
        if (await load(slot.index, entry.path, entry.tokens, cachedTokens)) {
          store.touch(entry.id);
          return cachedTokens;
        }
        store.drop(entry.id);
        return 0;
      }
      default:
        return source satisfies never;
    }
  }

  function vacate(job: Job): void {
    const slot = slots[job.slot ?? -1];
    job.slot = undefined;
    if (!slot || slot.job !== job) return;
    slot.tokens = job.shifted || !mayShare(job) ? [] : job.tokens.slice(0, job.processed);
    slot.lastUsedMs = performance.now();
    slot.job = undefined;
  }

  return {
    running,
    states: () =>
      slots.map(({ job, tokens, reused }) => ({
        state: !job ? 'idle' : isDecoding(job) ? 'decode' : 'prefill',
        usedTokens: job ? job.processed : tokens.length,
        prefixTokens: reused,
      })),
    jobIn: (slot) => slots[slot]?.job,
    place(job) {
      const query: PrefixQuery = {
        tokens: job.tokens,
        tenant: job.active.tenant,
        cacheKey: job.active.request.cacheKey,
        adapters: job.active.adapters,
        reuse: mayReuse(job),
      };
      return place(query, slots.map(view), store.entries());
    },
    isBeingRead(job, cachedTokens) {
      if (!mayReuse(job)) return false;
      return running().some((other) => {
        if (other.active.tenant !== job.active.tenant || other.active.adapters !== job.active.adapters) return false;
        if (other.shifted || !mayShare(other)) return false;
        const shared = commonPrefix(other.tokens, job.tokens, Math.min(other.promptLength, job.tokens.length - 1));
        return shared > other.processed && shared >= cachedTokens + worthWaiting;
      });
    },
    async occupy(job, placement) {
      const slot = slots[placement.slot];
      if (!slot) return 0;
      const staysMostly = placement.source.type === 'slot' && placement.cachedTokens * 2 >= slot.tokens.length;
      if (!staysMostly) await remember(slot);
      slot.tokens = [];
      let cached = 0;
      if (job.parkedAt !== undefined) {
        const whole = job.processed;
        context.truncate(slot.index, 0);
        cached = (await load(slot.index, job.parkedAt, job.tokens, whole)) ? whole : 0;
        store.unpark(job.parkedAt);
        job.parkedAt = undefined;
      } else cached = await fetch(slot, placement);
      slot.tenant = job.active.tenant;
      slot.cacheKey = job.active.request.cacheKey;
      slot.adapters = job.active.adapters;
      if (job.done) {
        // It was cancelled meanwhile; what was fetched is of use all the same.
        slot.tokens = job.tokens.slice(0, cached);
        return cached;
      }
      slot.reused = cached;
      slot.job = job;
      job.slot = slot.index;
      job.processed = cached;
      return cached;
    },
    release(job) {
      if (job.parkedAt !== undefined) {
        store.unpark(job.parkedAt);
        job.parkedAt = undefined;
      }
      vacate(job);
    },
    async park(job) {
      const { slot, processed } = job;
      if (slot === undefined) return;
      const content = job.tokens.slice(0, processed);
      job.parkedAt = await store.park(processed * kvBytesPerToken, save(slot, content));
      if (job.done) {
        if (job.parkedAt !== undefined) store.unpark(job.parkedAt);
        job.parkedAt = undefined;
      }
      vacate(job);
    },
    clear(slot) {
      context.truncate(slot, 0);
      const owner = slots[slot];
      if (owner) owner.tokens = [];
    },
    async keepAll() {
      for (const slot of slots) if (!slot.job) await remember(slot);
    },
  };
}

const mayShare = (job: Job): boolean => job.active.request.cachePrompt !== false;

/** Log-probabilities of the prompt need every position evaluated. */
const mayReuse = (job: Job): boolean => mayShare(job) && !(job.active.request.echo && job.active.request.logprobs);
