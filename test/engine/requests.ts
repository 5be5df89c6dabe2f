import type { CallOptions, Provider } from '../../src/core/provider.ts';
import { type ChatRequest, plainRequest } from '../../src/core/request.ts';
import { type Collected, collect } from '../../src/core/streams.ts';

const base: ChatRequest = { ...plainRequest('m'), sampling: { temperature: 0 } };

export const chat = (text: string, rest: Partial<ChatRequest> = {}): ChatRequest => ({
  ...base,
  maxTokens: 16,
  ...rest,
  messages: [{ role: 'user', content: [{ type: 'text', text }] }, ...(rest.messages ?? [])],
});

export const completion = (text: string | readonly number[], rest: Partial<ChatRequest> = {}): ChatRequest => ({
  ...base,
  maxTokens: 16,
  dialect: 'openai-completions',
  prompt: { text, echo: false },
  ...rest,
});

export const always = (): CallOptions => ({ signal: new AbortController().signal });

export const ask = async (
  provider: Provider,
  request: ChatRequest,
  options: Partial<CallOptions> = {},
): Promise<Collected> => collect(provider.stream(request, { ...always(), ...options }));
