import { type JsonObject, parseObject, stringOf } from '../../core/json.ts';
import type { ReasoningBlock } from '../../core/request.ts';
import { readCompaction } from './compaction.ts';
import { responseOfItem } from './output.ts';

/** Begins what we put into `encrypted_content`: OpenAI's own is told from it. */
const mark = 'tidegate:';

type Proof = Pick<ReasoningBlock, 'signature' | 'redacted' | 'id'>;

/** The proof of a thought, whoever gave it, in the one field that clients of Responses send back. */
export const seal = ({ signature, redacted, id }: Proof): string => mark + JSON.stringify({ signature, redacted, id });

/** What was sealed; what OpenAI encrypted is of the item with this id. */
export function unseal(sealed: string, itemId: string | undefined): Proof {
  const told: JsonObject | undefined = sealed.startsWith(mark) ? parseObject(sealed.slice(mark.length)) : undefined;
  if (!told) return { redacted: sealed, id: itemId ?? '' };
  const [signature, redacted, id] = ['signature', 'redacted', 'id'].map((name) => stringOf(told[name]));
  return {
    ...(signature === undefined ? {} : { signature }),
    ...(redacted === undefined ? {} : { redacted }),
    ...(id === undefined ? {} : { id }),
  };
}

/**
 * The items for a server of this API, which refuses what it did not pack or name itself: our summaries go in
 * words, and the thoughts of other upstreams not at all. The same list where nothing in it is ours.
 */
export function withoutOurs(items: readonly JsonObject[]): readonly JsonObject[] {
  if (!items.some((item) => isOurThought(item) || isOurSummary(item))) return items;
  return items.flatMap((item) => {
    if (isOurThought(item)) return [];
    return isOurSummary(item) ? [{ type: 'message', role: 'developer', content: readCompaction(item) ?? '' }] : [item];
  });
}

const isOurSummary = (item: JsonObject): boolean => item['type'] === 'compaction' && readCompaction(item) !== undefined;

function isOurThought({ type, id, encrypted_content: packed }: JsonObject): boolean {
  if (type !== 'reasoning') return false;
  return typeof packed === 'string'
    ? packed.startsWith(mark)
    : typeof id === 'string' && responseOfItem(id) !== undefined;
}
