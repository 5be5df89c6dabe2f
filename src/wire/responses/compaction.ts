import { randomId } from '../../core/clock.ts';
import type { Usage } from '../../core/event.ts';
import type { JsonObject } from '../../core/json.ts';
import type { ChatRequest } from '../../core/request.ts';
import { encodeResponseUsage } from './ending.ts';

/** Marks a summary of ours; what an upstream packed only the upstream can read. */
const mark = 'tidegate.1.';
/** Most tokens of a summary. */
const summaryTokens = 1024;

const ask =
  'Summarise our conversation so far, so that it can go on from the summary alone: what was asked for, what was found and decided, names and numbers that matter, and what is still to do. Write only the summary.';

/** The request that makes the summary: the conversation itself, and then the wish for one. Nothing is called, nothing is kept. */
export function summaryRequest(request: ChatRequest): ChatRequest {
  const { wire: _, logprobs: __, ...plain } = request;
  return {
    ...plain,
    messages: [...request.messages, { role: 'user', content: [{ type: 'text', text: ask }] }],
    tools: [],
    toolChoice: 'none',
    responseFormat: { type: 'text' },
    maxTokens: summaryTokens,
    store: false,
    stream: false,
  };
}

/** The compacted conversation: its user messages as they were, and one item that stands for all the rest. */
export function encodeCompaction(
  id: string,
  createdAt: number,
  items: readonly JsonObject[],
  { summary, usage }: { readonly summary: string; readonly usage: Usage | undefined },
): object {
  const encrypted_content = mark + toBase64(new TextEncoder().encode(summary));
  return {
    id: `resp_${id}`,
    object: 'response.compaction',
    created_at: createdAt,
    output: [
      ...items.filter((item) => item['type'] === 'message' && item['role'] === 'user'),
      { id: randomId('cmp_'), type: 'compaction', encrypted_content },
    ],
    usage: encodeResponseUsage(usage ?? { promptTokens: 0, completionTokens: 0 }),
  };
}

/** The summary in a compaction item of ours, for the model that goes on; undefined for anybody else's. */
export function readCompaction({ encrypted_content: packed }: JsonObject): string | undefined {
  if (typeof packed !== 'string' || !packed.startsWith(mark)) return undefined;
  try {
    const bytes = Uint8Array.from(atob(packed.slice(mark.length)), (char) => char.charCodeAt(0));
    return `Summary of the conversation so far:\n${new TextDecoder().decode(bytes)}`;
  } catch {
    return undefined; // cut or changed on its way
  }
}

function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
