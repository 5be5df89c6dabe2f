import type { Json, JsonObject } from '../../src/core/json.ts';
import type { ChatRequest, TextPrompt } from '../../src/core/request.ts';

/** A raw text completion for the legacy endpoint (https://platform.openai.com/docs/api-reference/completions). */
export function encodeCompletion(request: ChatRequest, prompt: TextPrompt): JsonObject {
  const { sampling, logprobs } = request;
  const fields: Readonly<Record<string, Json | undefined>> = {
    ...(request.dialect === 'openai-completions' ? request.extensions : {}),
    model: request.model,
    prompt: prompt.text,
    suffix: prompt.suffix,
    echo: prompt.echo || undefined,
    max_tokens: request.maxTokens,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    seed: sampling.seed,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    repetition_penalty: sampling.repeatPenalty,
    logit_bias: sampling.logitBias,
    stop: request.stop.length > 0 ? request.stop : undefined,
    n: request.choices > 1 ? request.choices : undefined,
    logprobs: logprobs?.top,
    user: request.user,
    stream: true,
    stream_options: { include_usage: true },
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** A chunk of a text completion in the form of a chat chunk: the legacy log-probabilities are the only difference that matters. */
export function chatChunkOf(chunk: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!Array.isArray(chunk['choices']) || !chunk['choices'].some(hasLegacyLogprobs)) return chunk;
  return {
    ...chunk,
    choices: chunk['choices'].map((choice: unknown) => ({ ...(choice as object), ...logprobsOf(choice) })),
  }; // spreads anything
}

interface LegacyLogprobs {
  readonly tokens?: readonly string[];
  readonly token_logprobs?: readonly (number | null)[];
  readonly top_logprobs?: readonly (Readonly<Record<string, number>> | null)[] | null;
}

const legacyLogprobs = (choice: unknown): LegacyLogprobs | null | undefined =>
  (choice as { logprobs?: LegacyLogprobs | null } | null)?.logprobs; // read loosely below

const hasLegacyLogprobs = (choice: unknown): boolean => Array.isArray(legacyLogprobs(choice)?.tokens);

function logprobsOf(choice: unknown): object {
  const legacy = legacyLogprobs(choice);
  if (!Array.isArray(legacy?.tokens)) return {};
  const content = legacy.tokens.map((token, index) => ({
    token,
    logprob: legacy.token_logprobs?.[index] ?? 0,
    bytes: null,
    top_logprobs: Object.entries(legacy.top_logprobs?.[index] ?? {}).map(([top, logprob]) => ({
      token: top,
      logprob,
      bytes: null,
    })),
  }));
  return { logprobs: { content } };
}
