import { type JsonObject, parseObject } from '../../src/core/json.ts';
import type { ChatRequest, Message, Part, Tool, ToolChoice } from '../../src/core/request.ts';

/** The media type and base64 data of a `data:` URL, or undefined for any other URL. */
export function parseDataUrl(url: string): { readonly mediaType: string; readonly data: string } | undefined {
  const match = /^data:([^;,]+)(?:;[^;,]+)*;base64,(.*)$/s.exec(url);
  return match ? { mediaType: match[1] ?? '', data: match[2] ?? '' } : undefined;
}

/** Arguments as the object that typed upstreams want; text that is no JSON object is kept under `arguments`. */
export function argumentsObject(text: string): JsonObject {
  if (text.trim() === '') return {};
  return parseObject(text) ?? { arguments: text }; // models err; the next turn must still be possible
}

/** System and developer turns, wherever they stand, apart from the conversation: for upstreams that take them apart. */
export function splitSystem(messages: readonly Message[]): {
  readonly system: readonly Part[];
  readonly turns: readonly Message[];
} {
  const system: Part[] = [];
  const turns: Message[] = [];
  for (const message of messages) {
    if (message.role === 'system' || message.role === 'developer') system.push(...message.content);
    else turns.push(message);
  }
  // nothing but instructions: they are what is asked, since no such upstream answers to no turn at all
  return turns.length === 0 ? { system: [], turns: [{ role: 'user', content: system }] } : { system, turns };
}

/** Merges neighbours of one role, where an upstream wants roles to alternate. */
export function alternate<T extends { readonly role: string; readonly content: readonly unknown[] }>(
  turns: readonly T[],
): T[] {
  const merged: T[] = [];
  for (const turn of turns) {
    const last = merged.at(-1);
    if (last?.role === turn.role) merged[merged.length - 1] = { ...last, content: [...last.content, ...turn.content] };
    else merged.push(turn);
  }
  return merged;
}

/** Tools and choice where an upstream knows no `allowed_tools`: the others are not offered at all. */
export function offered({ tools, toolChoice }: ChatRequest): {
  readonly tools: readonly Tool[];
  readonly choice: Exclude<ToolChoice, { type: 'allowed' }>;
} {
  if (typeof toolChoice === 'string' || toolChoice.type === 'named') return { tools, choice: toolChoice };
  return { tools: tools.filter(({ name }) => toolChoice.names.includes(name)), choice: toolChoice.mode };
}

/** The tokens to think for an effort, where an upstream wants a number. */
export function thinkingBudget({ reasoning }: ChatRequest): number | undefined {
  if (!reasoning || reasoning.enabled === false || reasoning.effort === 'none') return reasoning ? 0 : undefined;
  if (reasoning.budgetTokens !== undefined) return reasoning.budgetTokens;
  const budgets: Readonly<Record<string, number>> = {
    minimal: 1024,
    low: 2048,
    medium: 8192,
    high: 24_576,
    xhigh: 32_768,
    max: 32_768,
  };
  return reasoning.effort === undefined ? (reasoning.enabled ? 8192 : undefined) : (budgets[reasoning.effort] ?? 8192);
}
