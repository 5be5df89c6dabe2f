import { systemClock } from './core/clock.ts';
import { type ChatRequest, type Message, plainRequest } from './core/request.ts';
import type { Routing } from './core/route.ts';
import { anonymous, type RequestContext } from './core/run.ts';
import { collect } from './core/streams.ts';
import type { AskModel } from './filters/judge.ts';
import type { PromptLibrary } from './prompts/library.ts';

/** Lets a filter ask one of the gateway's own models: past keys, limits and filters, as the gateway itself. */
export function createAskModel(
  routing: () => Routing,
  library: () => PromptLibrary | Promise<PromptLibrary>,
): AskModel {
  return async ({ model, prompt, variables, scores, signal }) => {
    const { messages, parameters } = (await library()).render({ id: prompt, variables });
    const turns = messages.map(
      ({ role, text }): Message => ({
        ...(role === 'assistant' ? { role, toolCalls: [] } : { role }),
        content: [{ type: 'text', text }],
      }),
    );
    const request: ChatRequest = {
      ...plainRequest(model, turns),
      sampling: { temperature: parameters.temperature ?? 0 },
      maxTokens: parameters.max_tokens ?? 300,
      responseFormat: { type: 'json-schema', name: 'scores', schema: scoresSchema(scores), strict: true },
      priority: 'interactive',
    };
    const context: RequestContext = {
      requestId: 'filter',
      caller: { ...anonymous, id: 'filter', tenant: 'filter' },
      signal,
      endpoint: '/v1/chat/completions',
      startedMs: systemClock.now(),
      headers: {},
    };
    const run = await routing().attempt(routing().find(model), request, context);
    return (await collect(run.events)).choices[0]?.text ?? '';
  };
}

const scoresSchema = (names: readonly string[]) => ({
  type: 'object',
  properties: Object.fromEntries(names.map((name) => [name, { type: 'number', minimum: 0, maximum: 1 }])),
  required: [...names],
  additionalProperties: false,
});
