import { LRUCache } from 'lru-cache';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { AssistantMessage, ChatRequest, ReasoningBlock } from '../../src/core/request.ts';
import { createTextBound } from '../../src/core/streams.ts';
import type { EventSource } from './lazy-events.ts';

const maxEntries = 2000;
/** Of all together; the thoughts of one turn are rarely more than 100,000. */
const maxCharacters = 8 * 1024 * 1024;

/**
 * Signed reasoning by the tool call that followed it. Some upstreams want it back on the next turn, and clients of
 * OpenAI's chat dialect have no field to carry it: without this their second turn would be refused. Bounded, per
 * tenant; what was forgotten is simply not sent.
 */
export interface ReasoningMemory {
  /** Watches an answer on its way. */
  watch(events: EventSource, tenant: string | undefined): AsyncGenerator<CompletionEvent>;
  /** The request with remembered reasoning in the assistant turns that came without their own. */
  restore(request: ChatRequest, tenant: string | undefined): ChatRequest;
}

/** One for each provider that needs it; `unsigned`: thoughts are wanted back as they are. */
export function createReasoningMemory({ unsigned = false } = {}): ReasoningMemory {
  const known = new LRUCache<string, readonly ReasoningBlock[]>({
    max: maxEntries,
    maxSize: maxCharacters,
    sizeCalculation: (blocks, key) => blocks.reduce((sum, block) => sum + sizeOf(block), key.length),
  });
  const keyOf = (tenant: string | undefined, callId: string) => `${tenant ?? ''}\n${callId}`;
  return {
    async *watch(events, tenant) {
      let text = '';
      const bound = createTextBound();
      const blocks: ReasoningBlock[] = [];
      const calls: string[] = [];
      for await (const event of events) {
        if (event.type === 'reasoning-delta') {
          bound(event.text);
          text += event.text;
        } else if (event.type === 'reasoning-end') {
          const { type: _, choice: __, ...rest } = event;
          blocks.push({ text, ...rest });
          text = '';
        } else if (event.type === 'tool-call-start') calls.push(event.id);
        if (event.type === 'finish' && unsigned && text !== '') blocks.push({ text });
        if (event.type === 'finish' && blocks.length > 0) {
          for (const id of calls) known.set(keyOf(tenant, id), blocks);
        }
        yield event;
      }
    },
    restore(request, tenant) {
      if (known.size === 0) return request;
      const restored = (message: AssistantMessage): AssistantMessage => {
        const isOwn = ({ signature, redacted, text }: ReasoningBlock) =>
          redacted !== undefined || (text !== '' && (signature !== undefined || unsigned));
        if (message.toolCalls.length === 0 || message.reasoning?.some(isOwn)) return message;
        const blocks = message.toolCalls.map(({ id }) => known.get(keyOf(tenant, id))).find(Boolean);
        return blocks ? { ...message, reasoning: blocks } : message;
      };
      return {
        ...request,
        messages: request.messages.map((message) => (message.role === 'assistant' ? restored(message) : message)),
      };
    },
  };
}

const sizeOf = ({ text, signature = '', redacted = '' }: ReasoningBlock): number =>
  text.length + signature.length + redacted.length;
