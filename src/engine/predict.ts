import { LRUCache } from 'lru-cache';
import type { Prediction } from '../core/provider.ts';
import { type ChatRequest, textOf } from '../core/request.ts';
import type { EngineStats } from './protocol.ts';
import { queueDelayMs } from './scheduler.ts';

/** Predicts time to first token in the gateway, without asking the child: from what earlier requests taught. */
export interface Predictor {
  /** A prompt turned out to have so many tokens, and the answer `answerTokens` with this text. */
  learn(request: ChatRequest, tenant: string, promptTokens: number): void;
  learnAnswer(request: ChatRequest, tenant: string, answer: string, tokens: number): void;
  predict(request: ChatRequest, tenant: string, stats: EngineStats | undefined): Prediction;
}

const rememberedPrefixes = 4096;
const answerHash = 'assistant';

export function createPredictor(): Predictor {
  /** Beginning of a conversation → its tokens, as far as the KV cache had it when last seen. */
  const known = new LRUCache<string, number>({ max: rememberedPrefixes });
  let charactersPerToken = 3.5;

  return {
    learn(request, tenant, promptTokens) {
      const turns = chain(request, tenant);
      const last = turns.at(-1);
      if (!last) return;
      known.set(last.key, promptTokens);
      if (last.characters > 200) {
        charactersPerToken += 0.1 * (last.characters / promptTokens - charactersPerToken);
      }
    },
    learnAnswer(request, tenant, answer, tokens) {
      const last = chain(request, tenant).at(-1);
      if (last) known.set(extend(last.key, answerHash, answer), tokens);
    },
    predict(request, tenant, stats) {
      const turns = chain(request, tenant);
      const characters = turns.at(-1)?.characters ?? 0;
      let cachedTokens = 0;
      let promptTokens = Math.ceil(characters / charactersPerToken) + 4 * turns.length;
      for (const turn of turns.slice().reverse()) {
        const tokens = known.get(turn.key);
        if (tokens === undefined) continue;
        const rest = Math.ceil((characters - turn.characters) / charactersPerToken);
        [cachedTokens, promptTokens] = [tokens, tokens + rest];
        break;
      }
      if (!stats) return { ttftMs: 0, queueMs: 0, uncachedTokens: Math.max(1, promptTokens - cachedTokens) };
      const uncachedTokens = Math.max(1, promptTokens - cachedTokens);
      const queueMs = queueDelayMs(stats);
      // Beside running streams a prompt gets only its share of each step.
      const share = stats.running > 0 && uncachedTokens > 16 ? 1.7 : 1;
      const ttftMs = queueMs + uncachedTokens * stats.prefillMsPerToken * share + stats.stepMs;
      return { ttftMs: Math.round(ttftMs), queueMs: Math.round(queueMs), uncachedTokens };
    },
  };
}

/** Each beginning of the conversation, under a running hash of tenant, model and turns. */
function chain(request: ChatRequest, tenant: string): { key: string; characters: number }[] {
  let key = `${tenant}\u0000${request.model}`;
  let characters = 0;
  const turns: { key: string; characters: number }[] = [];
  const add = (role: string, text: string) => {
    key = extend(key, role, text);
    characters += text.length;
    turns.push({ key, characters });
  };
  if (request.tools.length > 0) add('tools', JSON.stringify(request.tools));
  if (request.prompt) {
    add('prompt', typeof request.prompt.text === 'string' ? request.prompt.text : request.prompt.text.join());
  }
  for (const message of request.messages) add(message.role, textOf(message.content));
  return turns;
}

/** Not for secrets: 2 × 32-bit multiplicative hashes, enough to tell conversations apart. */
function extend(key: string, role: string, text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  for (const part of [key, role, text]) {
    for (let i = 0; i < part.length; i++) {
      const code = part.charCodeAt(i);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b ^ code, 0x85ebca6b) ^ (b >>> 13);
    }
    a = Math.imul(a ^ 0xff, 0x01000193);
  }
  return `${(a >>> 0).toString(36)}.${(b >>> 0).toString(36)}`;
}
