import type { CompletionEvent } from '../core/event.ts';
import type { Json } from '../core/json.ts';
import type { GivenAnswer } from '../core/run.ts';

/** A whole answer as the provider gave it. */
export interface StoredAnswer {
  /** `provider/model` that made it. */
  readonly target: string;
  readonly events: readonly CompletionEvent[];
  /** Unix milliseconds. */
  readonly storedAt: number;
  readonly freshUntil: number;
  /** Of the request that it answered, where a key of the client's stands for it. */
  readonly fingerprint?: string;
  /** By what the client knows it, where it is to be the same when it is given again. */
  readonly given?: GivenAnswer;
  /** An answer that was made as a whole, instead of events. */
  readonly value?: Json;
}

/** Where answers are kept: memory, Redis, Workers KV. May lose what it likes; a failure counts as a miss. */
export interface AnswerStore {
  get(key: string): StoredAnswer | undefined | Promise<StoredAnswer | undefined>;
  /** `keepMs`: how long it may be of use, stale times included. */
  set(key: string, answer: StoredAnswer, keepMs: number): void | Promise<void>;
  /**
   * For stores that several gateways share: the right to make the answer of `key`, until released or `leaseMs` after
   * the holder was last heard of; undefined while another has it. A store may refuse it too where there is an answer
   * that was not stored at `knownAt`, which the asker has seen.
   */
  lock?(key: string, leaseMs: number, knownAt?: number): Promise<(() => void) | undefined>;
  status?(): { readonly entries: number; readonly bytes: number; readonly maxBytes: number };
  close?(): Promise<void>;
}

/** Bytes that an event takes in memory, roughly: text is two bytes a character, the rest some hundred. */
export function sizeOf(event: CompletionEvent): number {
  switch (event.type) {
    case 'text-delta':
      return 96 + event.text.length * 2 + (event.logprobs?.length ?? 0) * 200;
    case 'reasoning-delta':
    case 'refusal-delta':
      return 96 + event.text.length * 2;
    case 'tool-call-delta':
      return 96 + event.arguments.length * 2;
    case 'annotation':
      return 96 + JSON.stringify(event.annotation).length * 2;
    case 'reasoning-end':
      return 96 + ((event.signature?.length ?? 0) + (event.redacted?.length ?? 0)) * 2;
    case 'wire':
      return 96 + event.bytes.length;
    default:
      return 128;
  }
}

/** Bytes that an answer takes in memory, roughly. */
export const sizeOfAnswer = ({ events, value }: StoredAnswer): number =>
  events.reduce((sum, event) => sum + sizeOf(event), 256) +
  (value === undefined ? 0 : JSON.stringify(value).length * 2);
