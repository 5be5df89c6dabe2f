import { GatewayError } from '../../src/core/errors.ts';
import { createChunkMender } from '../../src/wire/openai/mend.ts';
import { createChatChunkDecoder } from '../../src/wire/openai/upstream-answer.ts';
import { sseDone } from '../../src/wire/sse.ts';
import { isObserved, parseEvent } from './pass-through.ts';
import type { StreamObserver } from './see-events.ts';

export interface ChatObserverOptions {
  /** How many choices were asked for. */
  readonly choices: number;
  /** The gateway asked for the usage, not the client: that chunk stays here. */
  readonly dropUsage: boolean;
}

/** Watches a chat completion stream that passes by. */
export function observeChat({ choices, dropUsage }: ChatObserverOptions): StreamObserver {
  const decoder = createChatChunkDecoder({ partial: true });
  const mend = createChunkMender();
  let finished = 0;
  let done = false;
  const unfinished = () =>
    new GatewayError('upstream_failed', 'The upstream ended its answer without a finish reason.');
  return {
    notable(text, from) {
      sign.lastIndex = from;
      return sign.exec(text)?.index ?? -1;
    },
    opens: (text) => {
      const deltas = text.match(anyDelta);
      return deltas !== null && deltas.length === text.match(emptyDelta)?.length && text.search(sign) < 0;
    },
    see(event) {
      if (event.data === '[DONE]') {
        if (finished === 0) throw unfinished();
        done = true;
        return { last: true };
      }
      const chunk = parseEvent(event);
      const decoded = decoder.push(chunk); // throws for an error object
      if (event.event === 'error') throw new GatewayError('upstream_failed', 'The upstream failed to answer.');
      const events = decoded.filter(isObserved);
      for (const { type } of events) if (type === 'finish') finished++;
      const usageOnly = chunk['usage'] != null && Array.isArray(chunk['choices']) && chunk['choices'].length === 0;
      const mended = mend(chunk, decoded);
      return { events, drop: dropUsage && usageOnly, ...(mended && { instead: JSON.stringify(mended) }) };
    },
    whole: () => finished >= choices && decoder.end().length > 0,
    end() {
      if (!done && finished < choices) throw unfinished();
      return { missing: done ? '' : sseDone, events: decoder.end() };
    },
  };
}

const anyDelta = /"delta"/g;
/** A delta with a role at most. */
const emptyDelta =
  /"delta": ?\{(?:(?:"role": ?"assistant"|"(?:content|refusal|reasoning_content|reasoning|function_call|tool_calls)": ?(?:""|null|\[\])),? ?)*\}/g;

/** One expression for all: nearly every text is searched to its end, and a search for each word takes four times as long. */
const sign = /"finish_reason":\s*"|"usage": ?\{|"error"|\[DONE\]|"tool_calls": ?\[ ?\{|"content": ?\[/g;
