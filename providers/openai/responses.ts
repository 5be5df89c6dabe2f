import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../../src/core/event.ts';
import { type JsonObject, objectOf } from '../../src/core/json.ts';
import { streamError } from '../../src/wire/upstream-error.ts';
import { parseEvent } from '../shared/pass-through.ts';
import type { StreamObserver } from '../shared/see-events.ts';

/** Watches a Responses stream that passes by (https://platform.openai.com/docs/api-reference/responses-streaming). */
export function observeResponses(): StreamObserver {
  let ended = false;
  return {
    notable(text, from) {
      remarkable.lastIndex = from;
      return remarkable.exec(text)?.index ?? -1;
    },
    opens: (text) => head.test(text) && !beyondHead.test(text),
    see(event) {
      if (event.data === '[DONE]') return { drop: true };
      const parsed = parseEvent(event);
      const response = objectOf(parsed['response']);
      switch (parsed['type']) {
        case 'response.created':
          return { events: [startOf(response)] };
        case 'response.completed':
        case 'response.incomplete':
          ended = true;
          return { events: endOf(response), last: true };
        case 'response.failed':
          throw streamError(response);
        case 'error':
          throw streamError(parsed);
        default:
          return {};
      }
    },
    whole: () => ended,
    end() {
      if (!ended) throw new GatewayError('upstream_failed', 'The upstream ended its answer before it was complete.');
      return { missing: '', events: [] };
    },
  };
}

const head = /"type":\s*"response\.(created|in_progress|queued)"/;
const beyondHead = /"type":\s*"(response\.(?!(created|in_progress|queued)")|error")/;
const remarkable = /response\.(created|completed|incomplete|failed)|"type":\s*"error"|\[DONE\]/g;

/** What is recorded of a whole response; throws for a failed one. */
export function observeResponse(body: unknown): CompletionEvent[] {
  const response = objectOf(body);
  if (response['error'] != null) throw streamError(response);
  return [startOf(response), ...endOf(response)];
}

function startOf({ id, model }: JsonObject): CompletionEvent {
  return {
    type: 'start',
    ...(typeof id === 'string' ? { id } : {}),
    ...(typeof model === 'string' ? { model } : {}),
  };
}

function endOf(response: JsonObject): CompletionEvent[] {
  const output = Array.isArray(response['output']) ? response['output'] : [];
  const calls = output.some((item: unknown) => /_call$/.test(String(objectOf(item)['type'])));
  const cut = objectOf(response['incomplete_details'])['reason'];
  const reason: FinishReason =
    response['status'] === 'incomplete'
      ? cut === 'content_filter'
        ? 'content-filter'
        : 'length'
      : calls
        ? 'tool-calls'
        : 'stop';
  const usage = usageOf(objectOf(response['usage']));
  return [{ type: 'finish', choice: 0, reason }, ...(usage ? [{ type: 'usage', usage } as const] : [])];
}

function usageOf(raw: JsonObject): Usage | undefined {
  const { input_tokens: input, output_tokens: output } = raw;
  if (typeof input !== 'number') return undefined;
  const cached = objectOf(raw['input_tokens_details'])['cached_tokens'];
  const reasoning = objectOf(raw['output_tokens_details'])['reasoning_tokens'];
  return {
    promptTokens: input,
    completionTokens: typeof output === 'number' ? output : 0,
    ...(typeof cached === 'number' ? { cachedTokens: cached } : {}),
    ...(typeof reasoning === 'number' ? { reasoningTokens: reasoning } : {}),
  };
}
