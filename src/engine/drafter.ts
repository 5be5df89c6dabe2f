import type { LlamaModel } from './llama.ts';
import { commonPrefix } from './prefix.ts';

/** A sequence that wants a draft. */
export interface DraftWish {
  readonly slot: number;
  /** Whose tokens they are: nobody's draft is quicker for what another asked. */
  readonly tenant: string;
  readonly tokens: readonly number[];
  /** Most tokens that are of use. */
  readonly room: number;
}

/** Guesses next tokens with a small model of the same vocabulary; the large one checks them all in one step. */
export interface Drafter {
  propose(wishes: readonly DraftWish[]): Promise<ReadonlyMap<number, readonly number[]>>;
  /** Tells how the last draft of a slot did, for the length of the next. */
  learn(slot: number, drafted: number, accepted: number): void;
  close(): Promise<void>;
}

export interface DrafterOptions {
  readonly slots: number;
  readonly contextTokens: number;
  readonly batchTokens: number;
  /** Most drafted tokens a step. */
  readonly most: number;
  /** Runs native work that may last. */
  readonly native: <T>(work: () => Promise<T>) => Promise<T>;
}

/** A token that the draft model itself holds for less likely than this ends the draft, as in llama.cpp. */
const leastProbability = 0.5;
/** Prompt tokens that one call reads at most: the streams wait for it. */
const readTokens = 128;
/** After a draft that failed whole, so many steps go without one, doubled with each failure up to the most. */
const mostRest = 32;

interface Sequence {
  tenant: string;
  tokens: number[];
  length: number;
  /** Steps without a draft that are left, and how many there will be after the next failure. */
  rest: number;
  nextRest: number;
}

/** Throws Error where the two models do not share one vocabulary: the drafts would be noise. */
export async function createDrafter(
  target: LlamaModel,
  draft: LlamaModel,
  { slots, contextTokens, batchTokens, most, native }: DrafterOptions,
): Promise<Drafter> {
  const difference = vocabularyDifference(target, draft);
  if (difference) throw new Error(`the draft model cannot serve this model: ${difference}`);
  const perSlot = Math.min(contextTokens, draft.info.trainContextTokens);
  const context = await draft.createContext({ sequences: slots, contextTokens: perSlot, batchTokens });
  const greedy = draft.createSampler({ temperature: 0 });
  const fresh = (): Sequence => ({ tenant: '', tokens: [], length: most, rest: 0, nextRest: 1 });
  const sequences = Array.from({ length: slots }, fresh);

  /** Forgets what differs; what is left to read comes back. */
  function align({ slot, tenant, tokens }: DraftWish, sequence: Sequence): readonly number[] {
    const shared = sequence.tenant === tenant ? commonPrefix(sequence.tokens, tokens, tokens.length - 1) : 0;
    if (shared < sequence.tokens.length && !context.truncate(slot, shared)) {
      context.truncate(slot, 0); // models that can't forget a part
      sequence.tokens = [];
    }
    if (sequence.tenant !== tenant) Object.assign(sequence, fresh(), { tenant });
    sequence.tokens.length = Math.min(sequence.tokens.length, shared);
    return tokens.slice(sequence.tokens.length);
  }

  interface Step {
    readonly wish: DraftWish;
    readonly sequence: Sequence;
    readonly tokens: readonly number[];
    /** Ends at the last known token: a draft can follow. */
    readonly drafts: boolean;
  }

  /** One pass; the places of the logits by slot. */
  async function evaluate(steps: readonly Step[]): Promise<ReadonlyMap<number, number>> {
    const places = new Map<number, number>();
    context.begin(steps.reduce((sum, { tokens }) => sum + tokens.length, 0));
    for (const { wish, sequence, tokens, drafts } of steps) {
      const wanted = drafts ? Uint32Array.of(tokens.length - 1) : new Uint32Array(0);
      const [place] = context.add(wish.slot, sequence.tokens.length, Uint32Array.from(tokens), wanted);
      if (place !== undefined) places.set(wish.slot, place);
      sequence.tokens.push(...tokens);
    }
    await native(() => context.decode());
    return places;
  }

  function firstSteps(wishes: readonly DraftWish[]): Step[] {
    let budget = Math.min(readTokens, batchTokens);
    const steps: Step[] = [];
    for (const wish of [...wishes].sort((a, b) => a.slot - b.slot)) {
      const sequence = sequences[wish.slot];
      if (!sequence || wish.tokens.length + wish.room > perSlot) continue;
      if (sequence.tenant === wish.tenant && sequence.rest > 0) {
        sequence.rest--;
        continue;
      }
      if (budget === 0) break;
      const pending = align(wish, sequence);
      const tokens = pending.slice(0, budget);
      budget -= tokens.length;
      steps.push({ wish, sequence, tokens, drafts: tokens.length === pending.length });
    }
    return steps;
  }

  return {
    async propose(wishes) {
      const drafts = new Map<number, number[]>();
      let steps = firstSteps(wishes);
      try {
        while (steps.length > 0) {
          const places = await evaluate(steps);
          const next: Step[] = [];
          for (const { wish, sequence } of steps) {
            const place = places.get(wish.slot);
            if (place === undefined) continue;
            const [token, probability] = await context.confidence(place, greedy);
            // A spare token of the draft model's own would be none of the target's.
            if (token < 0 || token >= target.info.vocabularySize || probability < leastProbability) continue;
            if (target.isEndOfGeneration(token)) continue;
            const draft = drafts.get(wish.slot) ?? [];
            drafts.set(wish.slot, draft);
            draft.push(token);
            if (draft.length < Math.min(wish.room, sequence.length)) {
              next.push({ wish, sequence, tokens: [token], drafts: true });
            }
          }
          steps = next;
        }
      } catch {
        // A draft is a help and no duty: what was not read is read again another time.
        for (const { wish, sequence } of steps) {
          context.truncate(wish.slot, 0);
          sequence.tokens = [];
        }
      }
      return drafts;
    },
    learn(slot, drafted, accepted) {
      const sequence = sequences[slot];
      if (!sequence || drafted === 0) return;
      sequence.length = accepted === drafted ? Math.min(most, sequence.length + 2) : Math.max(1, accepted + 1);
      if (accepted > 0) sequence.nextRest = 1;
      else {
        sequence.rest = sequence.nextRest;
        sequence.nextRest = Math.min(mostRest, sequence.nextRest * 2);
      }
    },
    async close() {
      greedy.dispose();
      await context.close();
      await draft.close();
    },
  };
}

/** Models of one family may differ in a few reserved tokens at the end, as llama.cpp allows. */
const spareTokens = 128;

function vocabularyDifference(target: LlamaModel, draft: LlamaModel): string | undefined {
  const [own, other] = [target.info.vocabularySize, draft.info.vocabularySize];
  if (Math.abs(own - other) > spareTokens) return `it has ${other} tokens, the model ${own}`;
  for (let token = 0; token < Math.min(own, other); token++) {
    if (target.tokenText(token) !== draft.tokenText(token)) return `token ${token} is another one`;
  }
  return undefined;
}
