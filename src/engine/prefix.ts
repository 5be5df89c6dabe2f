/** Number of leading tokens that two sequences share. */
export function commonPrefix(a: ArrayLike<number>, b: ArrayLike<number>, limit = Math.min(a.length, b.length)): number {
  let length = 0;
  while (length < limit && a[length] === b[length]) length++;
  return length;
}

/** A slot as the choice sees it: what its KV holds, whose it is, and when it was last used. */
export interface SlotView {
  readonly index: number;
  readonly tokens: ArrayLike<number>;
  readonly tenant: string | undefined;
  readonly cacheKey: string | undefined;
  /** Adapters the KV was computed with; it is of no use under others. */
  readonly adapters: string;
  readonly busy: boolean;
  readonly lastUsedMs: number;
}

/** KV kept outside the slots. */
export interface StoredPrefix {
  readonly id: string;
  readonly tokens: ArrayLike<number>;
  readonly tenant: string;
  readonly adapters: string;
}

export interface PrefixQuery {
  readonly tokens: ArrayLike<number>;
  readonly tenant: string;
  readonly cacheKey: string | undefined;
  readonly adapters: string;
  readonly reuse: boolean;
}

/** Where a request goes and where the KV of its first `cachedTokens` comes from. */
export interface Placement {
  readonly slot: number;
  readonly cachedTokens: number;
  readonly source:
    | { readonly type: 'none' }
    | { readonly type: 'slot' }
    | { readonly type: 'copy'; readonly from: number }
    | { readonly type: 'stored'; readonly id: string };
}

/**
 * A copy or reload moves all that its holder has, through memory: 1,300 tokens took 47 ms where reading took 4.7 s. It must
 * save so many tokens over what the slot itself holds.
 */
const leastGain = (holderTokens: number): number => 4 + holderTokens / 32;

/**
 * Where running slots are no neighbours, llama.cpp evaluates each run of neighbours in a pass of its own, which costs about
 * the time of two prompt tokens in every step: fewer tokens of a prefix than this are not worth a lonely slot.
 */
const worthLoneliness = 128;

/**
 * Places a request, beside running slots where it can choose. The holder of the longest common prefix of token ids (same tenant, same adapters) gives the KV: an
 * idle slot that would lose little is used as it is; otherwise the KV is copied, or reloaded from the store, into the
 * slot whose content is missed least, so that holders keep theirs. The last prompt token is always evaluated again, for
 * its logits. Null when no slot is idle. O((slots + stored) × prefix length).
 */
export function place(
  query: PrefixQuery,
  slots: readonly SlotView[],
  stored: readonly StoredPrefix[],
): Placement | null {
  const idle = slots.filter((slot) => !slot.busy);
  const most = Math.max(0, query.tokens.length - 1);
  const shared = (holder: { tokens: ArrayLike<number>; tenant: string | undefined; adapters: string }): number =>
    query.reuse && holder.tenant === query.tenant && holder.adapters === query.adapters
      ? commonPrefix(holder.tokens, query.tokens, Math.min(most, holder.tokens.length))
      : 0;
  const sameKey = (slot: SlotView) => query.cacheKey !== undefined && slot.cacheKey === query.cacheKey;
  const inPlace = (slot: SlotView, cachedTokens: number): Placement => ({
    slot: slot.index,
    cachedTokens,
    source: cachedTokens > 0 ? { type: 'slot' } : { type: 'none' },
  });

  const busy = new Set(slots.filter((slot) => slot.busy).map((slot) => slot.index));
  const neighbours = ({ index }: SlotView) => Number(busy.has(index - 1)) + Number(busy.has(index + 1));
  const victim = [...idle].sort(
    (a, b) =>
      Number(sameKey(b)) - Number(sameKey(a)) ||
      neighbours(b) - neighbours(a) ||
      Number(b.tokens.length === 0) - Number(a.tokens.length === 0) ||
      a.lastUsedMs - b.lastUsedMs ||
      a.index - b.index,
  )[0];
  if (!victim) return null;

  let best = inPlace(victim, shared(victim));
  for (const slot of idle) {
    const cachedTokens = shared(slot);
    // Half of what it holds must stay: a mere common system prompt is no reason to overwrite a conversation.
    const stays = cachedTokens * 2 >= slot.tokens.length;
    const lonelier = neighbours(slot) < neighbours(victim);
    const gain = cachedTokens - best.cachedTokens;
    if (gain > (lonelier ? worthLoneliness : 0) && stays) best = inPlace(slot, cachedTokens);
  }
  const better = (cachedTokens: number, { tokens }: { tokens: ArrayLike<number> }) =>
    cachedTokens - best.cachedTokens >= leastGain(tokens.length);
  for (const slot of slots) {
    const cachedTokens = shared(slot);
    if (slot !== victim && better(cachedTokens, slot)) {
      best = { slot: victim.index, cachedTokens, source: { type: 'copy', from: slot.index } };
    }
  }
  for (const entry of stored) {
    const cachedTokens = shared(entry);
    if (better(cachedTokens, entry)) {
      best = { slot: victim.index, cachedTokens, source: { type: 'stored', id: entry.id } };
    }
  }
  return best;
}
