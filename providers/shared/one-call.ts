import type { CompletionEvent } from '../../src/core/event.ts';
import type { Provider } from '../../src/core/provider.ts';
import { type ChatRequest, readable } from '../../src/core/request.ts';

/**
 * `parallel_tool_calls: false` where a server has no word for it: of several calls the first alone is given, as the
 * client has asked, and the model makes the others when it has that one's result. Codex asks so for every model that it
 * does not know (https://github.com/openai/codex/blob/main/codex-rs/models-manager/src/model_info.rs).
 */
export function oneCallAtATime(provider: Provider): Provider {
  const { tools, parallelToolCalls } = provider.capabilities;
  if (!tools || parallelToolCalls) return provider;
  return {
    ...provider,
    stream: (request, options) =>
      request.parallelToolCalls || request.tools.length === 0
        ? provider.stream(request, options)
        : firstCall(provider.stream({ ...readable(request), parallelToolCalls: true }, options), lastIndex(request)),
  };
}

/** The calls of a beginning that is continued count too. */
function lastIndex({ continueFinalMessage, messages }: ChatRequest): number {
  const last = messages.at(-1);
  const begun = continueFinalMessage && last?.role === 'assistant' ? last.toolCalls.length : 0;
  return Math.max(0, begun - 1);
}

async function* firstCall(events: AsyncIterable<CompletionEvent>, last: number): AsyncGenerator<CompletionEvent> {
  for await (const event of events) if (!('index' in event) || event.index <= last) yield event;
}
