import { type ChatRequest, plainRequest } from '../src/core/request.ts';
import { anonymous, type RequestContext } from '../src/core/run.ts';

/** A request of the model `demo`, in our own vocabulary. */
export const ask = (change: Partial<ChatRequest> = {}): ChatRequest => ({
  ...plainRequest('demo', [{ role: 'user', content: [{ type: 'text', text: 'What is the tide?' }] }]),
  ...change,
});

/** Who asks, when nobody in particular does. */
export const contextOf = (change: Partial<RequestContext> = {}): RequestContext => ({
  requestId: 'req-1',
  caller: anonymous,
  signal: new AbortController().signal,
  endpoint: '/v1/chat/completions',
  startedMs: 0,
  headers: {},
  ...change,
});
