import type { CompletionEvent } from '../../core/event.ts';
import { type JsonObject, objectsOf, stringOf } from '../../core/json.ts';
import type { ReasoningBlock } from '../../core/request.ts';

/**
 * OpenRouter's list of what a model thought, with the proof that its maker wants back on the next turn
 * (https://openrouter.ai/docs/use-cases/reasoning-tokens).
 */
export function decodeReasoningDetails(choice: number, list: unknown): readonly CompletionEvent[] {
  if (!Array.isArray(list)) return none;
  const events: CompletionEvent[] = [];
  for (const detail of objectsOf(list)) {
    const text = stringOf(detail['text']) || stringOf(detail['summary']);
    const [signature, data] = [stringOf(detail['signature']), stringOf(detail['data'])];
    const id = stringOf(detail['id']);
    if (text) events.push({ type: 'reasoning-delta', choice, text });
    if (signature) events.push({ type: 'reasoning-end', choice, signature });
    // of Gemini a call's signature, by the id of the call; of others what stands for the text
    else if (data && detail['format'] === gemini && id)
      events.push({ type: 'reasoning-end', choice, signature: data, id });
    else if (data) events.push({ type: 'reasoning-end', choice, redacted: data, ...(id ? { id } : {}) });
  }
  return events;
}

const none: readonly CompletionEvent[] = [];

/** The same for the next turn of this model, by whose maker the form of its proofs is known; nothing where none is known. */
export function encodeReasoningDetails(blocks: readonly ReasoningBlock[] = [], model: string): JsonObject {
  if (!blocks.some(({ signature, redacted }) => (signature ?? redacted) !== undefined)) return {};
  const format = formats.find(([maker]) => model.includes(maker))?.[1] ?? 'unknown';
  const details = blocks.map(({ text, signature, redacted, id }, index): JsonObject => {
    const named = { ...(id === undefined ? {} : { id }), format, index };
    const data = redacted ?? (format === gemini ? signature : undefined);
    if (data !== undefined) return { type: 'reasoning.encrypted', data, ...named };
    return { type: 'reasoning.text', text, ...(signature === undefined ? {} : { signature }), ...named };
  });
  return { reasoning_details: details };
}

const gemini = 'google-gemini-v1';
const formats = [
  ['anthropic/', 'anthropic-claude-v1'],
  ['google/', gemini],
  ['openai/', 'openai-responses-v1'],
  ['x-ai/', 'xai-responses-v1'],
] as const;
