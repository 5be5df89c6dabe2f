import { createParser } from 'eventsource-parser';

export interface StreamTimes {
  readonly ttftMs: number;
  /** Gaps between the pieces of one answer. */
  readonly gapsMs: readonly number[];
  readonly totalMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly text: string;
  readonly usageDetails: CompletionDetails;
}

/** Of `usage.completion_tokens_details`. */
export interface CompletionDetails {
  readonly accepted_prediction_tokens?: number;
  readonly rejected_prediction_tokens?: number;
}

/** One streamed chat completion, timed from the client's side. */
export async function streamChat(
  url: string,
  body: Record<string, unknown>,
  signal?: AbortSignal,
): Promise<StreamTimes> {
  const startedMs = performance.now();
  const response = await fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'm',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
      ...body,
    }),
    ...(signal ? { signal } : {}),
  });
  if (!response.ok || !response.body) throw new Error(`${response.status} ${await response.text()}`);
  const arrivals: number[] = [];
  let text = '';
  let usage: Usage = {};
  const parser = createParser({
    onEvent({ data }) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data) as Chunk; // only timed here, not trusted
      if (chunk.error) throw new Error(JSON.stringify(chunk.error));
      if (chunk.usage) usage = chunk.usage;
      const content = chunk.choices?.[0]?.delta?.content;
      if (content) {
        arrivals.push(performance.now());
        text += content;
      }
    },
  });
  const decoder = new TextDecoder();
  for await (const bytes of response.body) parser.feed(decoder.decode(bytes, { stream: true }));
  return {
    ttftMs: (arrivals[0] ?? performance.now()) - startedMs,
    gapsMs: arrivals.slice(1).map((ms, i) => ms - (arrivals[i] ?? ms)),
    totalMs: performance.now() - startedMs,
    promptTokens: usage.prompt_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    completionTokens: usage.completion_tokens ?? arrivals.length,
    text,
    usageDetails: usage.completion_tokens_details ?? {},
  };
}

interface Usage {
  readonly prompt_tokens?: number;
  readonly completion_tokens?: number;
  readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  readonly completion_tokens_details?: CompletionDetails;
}
interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: Usage | null;
  readonly error?: unknown;
}
