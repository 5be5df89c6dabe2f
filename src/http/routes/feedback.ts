import { randomId, systemClock } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { Feedback } from '../../core/record.ts';
import type { Caller } from '../../core/run.ts';
import { type FeedbackStore, feedbackOn, parseFeedback } from '../../observability/feedback.ts';
import type { Explanation, History } from '../../observability/history.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { adminEndpoint } from '../admin.ts';
import type { RouteEntry } from '../app.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { endpoint } from '../endpoint.ts';
import type { HttpDeps } from '../env.ts';
import { idOf } from '../json.ts';

export interface FeedbackDeps {
  readonly history: History;
  readonly store: FeedbackStore;
  /** Metrics, canaries. */
  readonly observe?: (feedback: Feedback) => void;
}

const maxBodyBytes = 64 * 1024;

/** `POST /v1/feedback` on an answer, and `GET /v1/explanations/:id` of how it came about. */
export function feedbackRoutes(deps: HttpDeps, { history, store, observe }: FeedbackDeps): readonly RouteEntry[] {
  const find = (id: string, caller: Caller): Explanation => {
    const found = history.get(id);
    if (found && (caller.role === 'admin' || found.record.callerId === caller.id)) return found;
    throw new GatewayError('not_found', `There is no answer '${id.slice(0, 200)}', or it is too long ago.`, {
      param: 'response_id',
    });
  };

  const give = endpoint(deps, encodeError, async (c, { context, json }) => {
    const input = parseFeedback(parseJsonObject(await readBody(c, maxBodyBytes)));
    const { record } = find(input.responseId, context.caller);
    const about = { id: randomId('fb_'), callerId: context.caller.id, at: systemClock.wall() };
    const feedback = feedbackOn(record, input, about);
    await store.add(feedback);
    observe?.(feedback);
    json({ object: 'feedback', ...feedbackJson(feedback) }, 201);
  });

  const list = adminEndpoint(deps, async (c, { json }) => {
    const limit = Math.min(500, Math.max(1, Number(c.req.query('limit') ?? 100) || 100));
    json({ object: 'list', data: (await store.list({ limit })).map(feedbackJson) });
  });

  const explain = endpoint(deps, encodeError, async (c, { context, json }) => {
    const { record, tokens } = find(idOf(c), context.caller);
    const mean = tokens && tokens.reduce((sum, { probability }) => sum + probability, 0) / Math.max(1, tokens.length);
    json({
      object: 'explanation',
      ...record,
      ...(tokens && { tokens, confidence: { mean, lowest: Math.min(...tokens.map((token) => token.probability)) } }),
    });
  });

  return [
    ['POST', '/v1/feedback', give],
    ['GET', '/v1/explanations/:id', explain],
    ['GET', '/admin/feedback', list],
  ];
}

const feedbackJson = ({ requestId, answerId, callerId, at, ...rest }: Feedback) => ({
  ...rest,
  request_id: requestId,
  ...(answerId !== undefined && { response_id: answerId }),
  caller: callerId,
  created_at: Math.floor(at / 1000),
});
