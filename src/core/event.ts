import type { Json } from './json.ts';

/**
 * What happens while an answer is made. Per choice: deltas, then exactly one `finish`; after the last finish at most
 * one `usage`. A failure is thrown (GatewayError), never an event. Deltas hold whole code points.
 */
export type CompletionEvent =
  /** Upstream's own id, model, fingerprint and time (Unix seconds), and the prompt's size, where it tells them; at most once, first. */
  | {
      readonly type: 'start';
      readonly id?: string;
      readonly model?: string;
      readonly fingerprint?: string;
      readonly created?: number;
      readonly prompt?: Pick<Usage, 'promptTokens' | 'cachedTokens' | 'cacheWriteTokens'>;
    }
  /** The prompt is still being read: so many of its tokens are in the KV cache. Engine only. */
  | { readonly type: 'progress'; readonly processedTokens: number; readonly totalTokens: number }
  | {
      readonly type: 'text-delta';
      readonly choice: number;
      readonly text: string;
      readonly logprobs?: readonly TokenLogprob[];
      /** The upstream's own deltas, where several that came in one read are this one: how the client gets them. */
      readonly pieces?: readonly string[];
    }
  | { readonly type: 'reasoning-delta'; readonly choice: number; readonly text: string }
  /** Ends a reasoning block: its signature, or the opaque data that stands for it. */
  | {
      readonly type: 'reasoning-end';
      readonly choice: number;
      readonly signature?: string;
      readonly redacted?: string;
      readonly id?: string;
    }
  | { readonly type: 'refusal-delta'; readonly choice: number; readonly text: string }
  /** `index` counts the calls of a choice from 0. */
  | {
      readonly type: 'tool-call-start';
      readonly choice: number;
      readonly index: number;
      readonly id: string;
      readonly name: string;
      readonly kind: 'function' | 'custom';
    }
  | { readonly type: 'tool-call-delta'; readonly choice: number; readonly index: number; readonly arguments: string }
  /** Citations and the like, in OpenAI's annotation form; a picture as `image_url`. */
  | { readonly type: 'annotation'; readonly choice: number; readonly annotation: Json }
  | {
      readonly type: 'finish';
      readonly choice: number;
      readonly reason: FinishReason;
      /** The stop text that matched. */
      readonly stopSequence?: string;
      /** Why, in words, where a filter or limit ended it. */
      readonly detail?: string;
    }
  | { readonly type: 'usage'; readonly usage: Usage }
  /**
   * From here on another target goes on with the answer (takeover). `attempts` counts calls so far. `delivered` is there
   * when the answer went out as `wire` bytes and goes on as ordinary events: what those bytes said, for an encoder to
   * run over without sending, so that ids and indices go on unchanged; `sent` are the bytes, for a dialect whose blocks
   * and numbers say more than events do. Thoughts that were open stay as they are: whoever goes on has its own.
   */
  | {
      readonly type: 'takeover';
      readonly target: string;
      readonly attempts: number;
      readonly delivered?: readonly CompletionEvent[];
      readonly sent?: Uint8Array;
    }
  /**
   * Bytes of the client's own dialect, ready to be sent: whole SSE events, or a piece of a JSON body. A stream with
   * these has no text events; its `finish` and `usage` are only observed, the client already has them. `says`: all the
   * text in them, and each choice's end, where the request asked for that; a filter that changes it gives that out instead.
   */
  | {
      readonly type: 'wire';
      readonly bytes: Uint8Array;
      readonly says?: readonly CompletionEvent[];
      /** The answer's head alone: no token has come yet. */
      readonly opening?: boolean;
    };

/** Whether an answer has begun with this, as a reader sees it. */
export const isVisible = (event: CompletionEvent): boolean =>
  event.type === 'wire'
    ? event.opening !== true
    : event.type !== 'start' && event.type !== 'progress' && event.type !== 'usage';

export type FinishReason = 'stop' | 'length' | 'tool-calls' | 'content-filter' | 'pause' | 'refusal';

/** One token with its log-probability (natural, raw model distribution); `bytes` are its UTF-8 bytes, maybe part of a character. */
export interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[] | null;
  readonly top: readonly {
    readonly token: string;
    readonly logprob: number;
    readonly bytes: readonly number[] | null;
  }[];
  /** The model's own token id, where known. */
  readonly id?: number;
}

/** Token counts of a whole request, all choices together. `promptTokens` includes the cached ones. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens?: number;
  readonly cacheWriteTokens?: number;
  readonly reasoningTokens?: number;
  readonly acceptedPredictionTokens?: number;
  readonly rejectedPredictionTokens?: number;
  /** True where we counted because the upstream did not tell. */
  readonly estimated?: boolean;
  /** What each target spent, where more than one made the answer (takeover); the counts above are their sum. */
  readonly parts?: readonly {
    readonly target: string;
    readonly promptTokens: number;
    readonly completionTokens: number;
  }[];
  /** Measured by the engine: milliseconds and joules. */
  readonly queueMs?: number;
  readonly prefillMs?: number;
  readonly decodeMs?: number;
  readonly energyJoules?: number;
}
