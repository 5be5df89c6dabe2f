import { GatewayError } from '../../core/errors.ts';
import type { Transport } from '../../core/transport.ts';
import { createSseDecoder } from '../../wire/sse.ts';
import type { Sample } from './sample.ts';

export interface AskOptions {
  readonly transport: Transport;
  /** With `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The fields of a chunk that are measured; everything else may be anything. */
interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
      readonly tool_calls?: unknown;
    };
  }[];
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
  readonly error?: { readonly message?: string; readonly code?: string | number | null } | string | null;
}

/** One streamed chat completion, timed. What fails is a sample too. */
export async function ask({ transport, baseUrl, apiKey, body, timeoutMs, signal }: AskOptions): Promise<Sample> {
  const startedMs = performance.now();
  const gapsMs: number[] = [];
  let firstMs: number | undefined;
  let lastMs = startedMs;
  let pieces = 0;
  let usage: Chunk['usage'];
  let error: string | undefined;
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const response = await transport.send(
      {
        method: 'POST',
        url: `${baseUrl}/chat/completions`,
        headers: {
          'content-type': 'application/json',
          accept: 'text/event-stream',
          ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}),
        },
        body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      },
      { signal: limit },
    );
    if (response.status !== 200) {
      for await (const _ of response.body); // the connection can then be used again
      error = String(response.status);
    } else {
      const decoder = createSseDecoder();
      for await (const bytes of response.body) {
        for (const { data } of decoder.push(bytes)) {
          if (data === '[DONE]') continue;
          const chunk = JSON.parse(data) as Chunk; // read field by field, each optional
          if (chunk.error) error = 'error in the stream';
          if (chunk.usage) usage = chunk.usage;
          const delta = chunk.choices?.[0]?.delta;
          if (!delta?.content && !delta?.reasoning_content && !delta?.tool_calls) continue;
          const at = performance.now();
          if (firstMs === undefined) firstMs = at;
          else gapsMs.push(at - lastMs);
          lastMs = at;
          pieces++;
        }
      }
      if (firstMs === undefined) error ??= 'no text';
    }
  } catch (thrown) {
    error = wordsOf(thrown);
  }
  return {
    startedMs,
    endedMs: error === undefined ? lastMs : performance.now(),
    ttftMs: firstMs === undefined ? undefined : firstMs - startedMs,
    gapsMs,
    outputTokens: usage?.completion_tokens ?? pieces,
    promptTokens: usage?.prompt_tokens,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens,
    counted: usage?.completion_tokens === undefined,
    error,
  };
}

function wordsOf(thrown: unknown): string {
  if (thrown instanceof GatewayError) return thrown.kind === 'upstream_unreachable' ? 'connection' : thrown.kind;
  if (thrown instanceof Error && thrown.name === 'TimeoutError') return 'timeout';
  if (thrown instanceof SyntaxError) return 'bad chunk';
  return 'connection';
}
