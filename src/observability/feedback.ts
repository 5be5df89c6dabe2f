import { GatewayError } from '../core/errors.ts';
import { isJsonObject } from '../core/json.ts';
import type { Feedback, RequestRecord } from '../core/record.ts';

/** Where feedback is kept: the ledger, or memory. */
export interface FeedbackStore {
  add(feedback: Feedback): Promise<void>;
  /** Newest first. */
  list(query: { readonly limit: number }): Promise<readonly Feedback[]>;
}

export interface FeedbackInput {
  readonly responseId: string;
  readonly score: number;
  readonly label?: string;
  readonly comment?: string;
}

/** The last `size` entries, for a gateway without a ledger. */
export function memoryFeedback(size = 1000): FeedbackStore {
  const kept: Feedback[] = [];
  return {
    async add(feedback) {
      kept.unshift(feedback);
      if (kept.length > size) kept.pop();
    },
    list: async ({ limit }) => kept.slice(0, limit),
  };
}

/** Reads the body of `POST /v1/feedback`. Throws invalid_request that names the field. */
export function parseFeedback(body: unknown): FeedbackInput {
  if (!isJsonObject(body)) throw wrong('The body must be a JSON object.');
  const { response_id: responseId, score, label, comment } = body;
  if (typeof responseId !== 'string' || responseId.length === 0) {
    throw wrong("'response_id' must be the id of an answer.", 'response_id');
  }
  if (typeof score !== 'number' || !(score >= 0 && score <= 1)) {
    throw wrong("'score' must be a number from 0 (bad) to 1 (good).", 'score');
  }
  return { responseId, score, ...text('label', label, 64), ...text('comment', comment, 4000) };
}

/** A person’s words about an answer, tied to the record of the request that made it. */
export const feedbackOn = (
  { requestId, answerId, model, target, prompt }: RequestRecord,
  { score, label, comment }: FeedbackInput,
  about: Pick<Feedback, 'id' | 'callerId' | 'at'>,
): Feedback => ({
  ...about,
  requestId,
  ...(answerId !== undefined && { answerId }),
  score,
  ...(label !== undefined && { label }),
  ...(comment !== undefined && { comment }),
  model,
  target: target ?? '',
  ...(prompt && { prompt }),
});

function text<K extends string>(name: K, value: unknown, maxChars: number): { readonly [P in K]?: string } {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'string' || value.length > maxChars) {
    throw wrong(`'${name}' must be text of at most ${maxChars} characters.`, name);
  }
  return { [name]: value } as { readonly [P in K]?: string }; // one property, named above
}

const wrong = (message: string, param?: string) => new GatewayError('invalid_request', message, { param });
