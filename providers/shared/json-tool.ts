import type { CompletionEvent } from '../../src/core/event.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { ChatRequest, Tool } from '../../src/core/request.ts';

/** The tool by which a target without structured output answers in JSON; its arguments become the answer's text. */
const jsonToolName = 'answer_in_json';

/**
 * Asks for JSON through a tool that must be called: the open emulation of `response_format` where the target has tools
 * but no structured output. The answer goes through `readJsonTool`.
 */
export function withJsonTool(request: ChatRequest): ChatRequest {
  const { responseFormat: format, tools, toolChoice } = request;
  if (format.type !== 'json-schema' && format.type !== 'json-object') return request;
  const schema: JsonObject = format.type === 'json-schema' ? format.schema : { type: 'object' };
  const tool: Tool = {
    kind: 'function',
    name: jsonToolName,
    description:
      (format.type === 'json-schema' ? format.description : undefined) ??
      'Gives the final answer. Call it exactly once.',
    parameters: schema['type'] === undefined ? { ...schema, type: 'object' } : schema,
  };
  const alone = tools.length === 0 || toolChoice === 'none';
  return {
    ...request,
    responseFormat: { type: 'text' },
    tools: [...tools, tool],
    toolChoice: alone ? { type: 'named', name: jsonToolName } : choiceBeside(toolChoice),
    parallelToolCalls: alone ? false : request.parallelToolCalls,
  };
}

function choiceBeside(choice: ChatRequest['toolChoice']): ChatRequest['toolChoice'] {
  if (typeof choice === 'string') return 'required';
  if (choice.type === 'named') return choice;
  return { type: 'allowed', mode: 'required', names: [...choice.names, jsonToolName] };
}

/** The events of an answer to `withJsonTool`, with the tool's arguments as text again. Prose beside it is left out. */
export async function* readJsonTool(events: AsyncIterable<CompletionEvent>): AsyncGenerator<CompletionEvent> {
  const numbering = new Map<number, number>(); // upstream's index → ours, without the tool
  let jsonIndex: number | undefined;
  for await (const event of events) {
    switch (event.type) {
      case 'text-delta':
        break;
      case 'tool-call-start':
        if (event.name === jsonToolName) jsonIndex = event.index;
        else {
          numbering.set(event.index, numbering.size);
          yield { ...event, index: numbering.size - 1 };
        }
        break;
      case 'tool-call-delta':
        if (event.index === jsonIndex) yield { type: 'text-delta', choice: event.choice, text: event.arguments };
        else yield { ...event, index: numbering.get(event.index) ?? event.index };
        break;
      case 'finish':
        yield event.reason === 'tool-calls' && numbering.size === 0 ? { ...event, reason: 'stop' } : event;
        break;
      default:
        yield event;
    }
  }
}
