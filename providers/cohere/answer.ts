import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../../src/core/event.ts';
import { type JsonObject, numberOf, objectOf, objectsOf, stringOf } from '../../src/core/json.ts';
import { streamError } from '../../src/wire/upstream-error.ts';

/** What is known of an answer on its way; one for each. */
export interface ChatState {
  readonly calls: Map<number, number>;
  finished: boolean;
  usage: Usage | undefined;
}

/** One event of its stream as ours. Throws `upstream_failed` where it tells of an error. */
export function decodeChat(event: JsonObject, state: ChatState): CompletionEvent[] {
  const delta = objectOf(event['delta']);
  const message = objectOf(delta['message']);
  const content = objectOf(message['content']);
  const index = typeof event['index'] === 'number' ? event['index'] : 0;
  switch (event['type']) {
    case 'message-start':
      return [{ type: 'start', ...(typeof event['id'] === 'string' ? { id: event['id'] } : {}) }];
    case 'content-delta':
      if (typeof content['thinking'] === 'string')
        return [{ type: 'reasoning-delta', choice: 0, text: content['thinking'] }];
      return typeof content['text'] === 'string' ? [{ type: 'text-delta', choice: 0, text: content['text'] }] : [];
    case 'tool-plan-delta': // what it means to do with its tools: thinking, by its nature
      return [{ type: 'reasoning-delta', choice: 0, text: String(message['tool_plan'] ?? '') }];
    case 'tool-call-start': {
      const call = objectOf(message['tool_calls']);
      const target = objectOf(call['function']);
      const at = state.calls.size;
      state.calls.set(index, at);
      const [id, name] = [String(call['id'] ?? `call_${at}`), String(target['name'] ?? '')];
      const early = typeof target['arguments'] === 'string' ? target['arguments'] : '';
      return [
        { type: 'tool-call-start', choice: 0, index: at, id, name, kind: 'function' },
        ...(early === '' ? [] : [{ type: 'tool-call-delta', choice: 0, index: at, arguments: early } as const]),
      ];
    }
    case 'tool-call-delta': {
      const piece = objectOf(objectOf(message['tool_calls'])['function'])['arguments'];
      return [
        { type: 'tool-call-delta', choice: 0, index: state.calls.get(index) ?? 0, arguments: String(piece ?? '') },
      ];
    }
    case 'citation-start':
      return citationsOf(objectOf(message['citations']));
    case 'message-end':
      state.finished = true;
      state.usage = usageOf(objectOf(delta['usage']));
      return [{ type: 'finish', choice: 0, ...finishOf(String(delta['finish_reason'] ?? '')) }];
    default:
      if (event['error'] !== undefined || event['type'] === undefined) throw streamError(event);
      return [];
  }
}

/**
 * The pages that a piece of the text is from. Documents are there because a client gave them in Cohere's own field, and
 * are told in Cohere's own form; results of tools, which every answer to some cites, are nothing that a client can read,
 * and the AI SDK refuses an answer with annotations of other forms than OpenAI's.
 */
function citationsOf(citation: JsonObject): CompletionEvent[] {
  const { type = 'TEXT_CONTENT', start, end, sources } = citation;
  if (type !== 'TEXT_CONTENT') return []; // of a thought or a plan
  const place = { start_index: numberOf(start) ?? 0, end_index: numberOf(end) ?? 0 };
  const annotations: JsonObject[] = [];
  let hasGiven = false;
  for (const source of objectsOf(sources)) {
    const { url, title } = objectOf(source['document'] ?? source['tool_output']);
    if (typeof url === 'string') {
      annotations.push({ type: 'url_citation', url_citation: { url, title: stringOf(title) ?? '', ...place } });
    } else hasGiven ||= source['type'] === 'document';
  }
  if (hasGiven) annotations.push({ type: 'citation', ...citation });
  return annotations.map((annotation) => ({ type: 'annotation', choice: 0, annotation }));
}

function finishOf(reason: string): { readonly reason: FinishReason; readonly detail?: string } {
  switch (reason) {
    case 'MAX_TOKENS':
      return { reason: 'length' };
    case 'TOOL_CALL':
      return { reason: 'tool-calls' };
    case 'ERROR':
    case 'TIMEOUT':
      throw new GatewayError('upstream_failed', `The upstream broke its answer off (${reason}).`);
    case 'ERROR_TOXIC':
      return { reason: 'content-filter' };
    default: // COMPLETE, STOP_SEQUENCE
      return { reason: 'stop' };
  }
}

function usageOf(usage: JsonObject): Usage | undefined {
  const { input_tokens: input, output_tokens: output } = objectOf(usage['tokens']);
  const cached = usage['cached_tokens'];
  if (typeof input !== 'number') return undefined;
  return {
    promptTokens: input,
    completionTokens: typeof output === 'number' ? output : 0,
    ...(typeof cached === 'number' ? { cachedTokens: cached } : {}),
  };
}
