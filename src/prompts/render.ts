import { GatewayError } from '../core/errors.ts';
import { type ChatRequest, type Message, readable, type Sampling } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { PromptLibrary, RenderedPrompt } from './library.ts';

/** Prompts of the library rendered into requests. */
export interface Prompts {
  /**
   * The request with its template's messages in front. Throws invalid_request that names a missing or wrong variable. A
   * promise where the library is loaded for it.
   */
  render(request: ChatRequest, route: Route): ChatRequest | Promise<ChatRequest>;
}

/** No library: a request that names a prompt is refused. */
export const noPrompts: Prompts = {
  render(request) {
    if (request.promptTemplate) {
      throw new GatewayError('invalid_request', `There is no prompt '${request.promptTemplate.id}'.`, {
        param: 'prompt.id',
      });
    }
    return request;
  },
};

/**
 * The route's own prompt comes first, then the one that the request names, then the request's messages. Parameters of
 * a prompt are defaults: what the request says itself wins. `promptTemplate` of the result names the version rendered.
 */
export function createPrompts(library: PromptLibrary) {
  return {
    render(request: ChatRequest, route: Route): ChatRequest {
      const references = [route.prompt, request.promptTemplate].filter((reference) => reference !== undefined);
      if (references.length === 0) return request;
      if (request.prompt) {
        throw new GatewayError(
          'invalid_request',
          'A prompt of the library is made of messages and cannot be used with raw completions.',
          {
            param: 'prompt',
          },
        );
      }
      // The same user keeps the same version of an A/B test.
      const rendered = references.map((reference) => ({
        reference,
        prompt: library.render(reference, request.user ?? request.promptCacheKey),
      }));
      return rendered.reduceRight<ChatRequest>(
        (inner, { reference, prompt }) => ({
          ...withPrompt(inner, prompt),
          // The record names the request's own prompt where there are two.
          promptTemplate: inner.promptTemplate ?? {
            id: prompt.id,
            version: prompt.version,
            variables: reference.variables,
          },
        }),
        withoutTemplate(readable(request)),
      );
    },
  } satisfies Prompts;
}

function withoutTemplate({ promptTemplate: _, ...request }: ChatRequest): ChatRequest {
  return request;
}

function withPrompt(request: ChatRequest, { parameters, messages }: RenderedPrompt): ChatRequest {
  const { max_tokens: maxTokens, stop } = parameters;
  const front = messages.map(({ role, text }): Message => {
    const content = [{ type: 'text' as const, text }];
    return role === 'assistant' ? { role, content, toolCalls: [] } : { role, content };
  });
  return {
    ...request,
    messages: [...front, ...request.messages],
    sampling: { ...samplingOf(parameters), ...request.sampling },
    ...(maxTokens !== undefined && request.maxTokens === undefined && { maxTokens }),
    ...(stop && request.stop.length === 0 && { stop }),
  };
}

function samplingOf(parameters: RenderedPrompt['parameters']): Sampling {
  const named: Sampling = {
    ...(parameters.temperature !== undefined && { temperature: parameters.temperature }),
    ...(parameters.top_p !== undefined && { topP: parameters.top_p }),
    ...(parameters.top_k !== undefined && { topK: parameters.top_k }),
    ...(parameters.min_p !== undefined && { minP: parameters.min_p }),
    ...(parameters.seed !== undefined && { seed: parameters.seed }),
    ...(parameters.frequency_penalty !== undefined && { frequencyPenalty: parameters.frequency_penalty }),
    ...(parameters.presence_penalty !== undefined && { presencePenalty: parameters.presence_penalty }),
    ...(parameters.repeat_penalty !== undefined && { repeatPenalty: parameters.repeat_penalty }),
  };
  return named;
}
