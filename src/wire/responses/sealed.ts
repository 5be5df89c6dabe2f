import { type JsonObject, parseObject, stringOf } from '../../core/json.ts';
import type { ReasoningBlock } from '../../core/request.ts';

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
