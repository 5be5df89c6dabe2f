import type { CompletionEvent } from '../../core/event.ts';
import type { JsonObject } from '../../core/json.ts';
import type { Collected } from '../../core/streams.ts';
import { createResponseEncoder, type ResponseAnswer } from './encode.ts';

/** The whole answer: the same machine fed with whole pieces, so that stream and body never disagree. */
export function encodeResponse(collected: Collected, answer: ResponseAnswer): JsonObject {
  const encoder = createResponseEncoder(answer);
  for (const event of eventsOf(collected)) encoder.push(event);
  encoder.end();
  return encoder.response();
}

/** The events that a whole answer would have been streamed in, one per piece. */
function* eventsOf(collected: Collected): Generator<CompletionEvent> {
  for (const [choice, one] of collected.choices.entries()) {
    for (const { text, ...rest } of one.reasoning) {
      yield { type: 'reasoning-delta', choice, text };
      yield { type: 'reasoning-end', choice, ...rest };
    }
    if (one.text !== '' || one.logprobs) {
      const logprobs = one.logprobs ? { logprobs: one.logprobs } : {};
      yield { type: 'text-delta', choice, text: one.text, ...logprobs };
    }
    for (const annotation of one.annotations) {
      yield { type: 'annotation', choice, annotation: annotation as JsonObject }; // came in as JSON
    }
    if (one.refusal !== undefined) yield { type: 'refusal-delta', choice, text: one.refusal };
    for (const [index, call] of one.toolCalls.entries()) {
      yield { type: 'tool-call-start', choice, index, id: call.id, name: call.name, kind: call.kind };
      yield { type: 'tool-call-delta', choice, index, arguments: call.arguments };
    }
    const { stopSequence, detail } = one;
    yield {
      type: 'finish',
      choice,
      reason: one.finishReason ?? 'stop',
      ...(stopSequence === undefined ? {} : { stopSequence }),
      ...(detail === undefined ? {} : { detail }),
    };
  }
  if (collected.usage) yield { type: 'usage', usage: collected.usage };
}
