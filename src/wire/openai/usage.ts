import type { Usage } from '../../core/event.ts';

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
