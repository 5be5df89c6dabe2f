import type { Usage } from '../../core/event.ts';
import { type Json, type JsonObject, maybeObject } from '../../core/json.ts';

/** OpenAI's `usage`; the details are always there, since typed clients read through them. */
export function encodeUsage(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: {
      cached_tokens: usage.cachedTokens ?? 0,
      audio_tokens: 0,
      ...(usage.cacheWriteTokens === undefined ? {} : { cache_write_tokens: usage.cacheWriteTokens }),
    },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoningTokens ?? 0,
      audio_tokens: 0,
      accepted_prediction_tokens: usage.acceptedPredictionTokens ?? 0,
      rejected_prediction_tokens: usage.rejectedPredictionTokens ?? 0,
    },
    ...encodeParts(usage),
  };
}

/** Ours, in every dialect's usage: an answer that changed hands says who spent what. */
export function encodeParts({ parts }: Usage): object {
  if (parts === undefined) return {};
  return {
    tidegate_parts: parts.map(({ target, promptTokens, completionTokens }) => ({
      target,
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
    })),
  };
}

const count = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined;

/** Usage wherever servers put it: the chunk, Groq's `x_groq`, a choice (Moonshot). */
export function decodeUsage(chunk: JsonObject): Usage | undefined {
  const choices = Array.isArray(chunk['choices']) ? (chunk['choices'] as readonly Json[]) : []; // by isArray
  const raw =
    maybeObject(chunk['usage']) ??
    maybeObject(maybeObject(chunk['x_groq'])?.['usage']) ??
    maybeObject(maybeObject(choices[0])?.['usage']);
  if (!raw) return undefined;
  const promptTokens = count(raw['prompt_tokens']);
  const completionTokens = count(raw['completion_tokens']);
  if (promptTokens === undefined && completionTokens === undefined) return undefined;
  const prompt = maybeObject(raw['prompt_tokens_details']);
  const completion = maybeObject(raw['completion_tokens_details']);
  const usage: { -readonly [K in keyof Usage]: Usage[K] } = {
    promptTokens: promptTokens ?? 0,
    completionTokens: completionTokens ?? 0,
  };
  // Field by field, not by spreads: this is in every answer's way, and each of those makes a slow object.
  const cached =
    count(prompt?.['cached_tokens']) ?? count(raw['prompt_cache_hit_tokens']) ?? count(raw['cached_tokens']); // the last is Moonshot's
  const written = count(prompt?.['cache_write_tokens']);
  const reasoning = count(completion?.['reasoning_tokens']);
  const accepted = count(completion?.['accepted_prediction_tokens']);
  const rejected = count(completion?.['rejected_prediction_tokens']);
  if (cached !== undefined) usage.cachedTokens = cached;
  if (written !== undefined) usage.cacheWriteTokens = written;
  if (reasoning !== undefined) usage.reasoningTokens = reasoning;
  // xAI counts thinking beside the answer, not in it, as its total tells.
  if (reasoning && raw['total_tokens'] === usage.promptTokens + usage.completionTokens + reasoning) {
    usage.completionTokens += reasoning;
  }
  if (accepted !== undefined) usage.acceptedPredictionTokens = accepted;
  if (rejected !== undefined) usage.rejectedPredictionTokens = rejected;
  return usage;
}
