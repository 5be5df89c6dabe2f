import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider } from '../../providers/registry.ts';
import { upstreamHeaders } from '../../src/core/trace.ts';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { chatRequest, never, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(openaiServer(['a']));
});
afterAll(() => upstream.close());

test('a key that a request brings reaches the upstream as its credentials and as nothing else', async () => {
  const entry = { type: 'openai-compatible', baseUrl: upstream.baseUrl, apiKey: 'ours', callerKeys: true };
  const provider = createProvider('up', entry, { transport });
  const asked = {
    'x-tidegate-upstream-key': 'mine',
    'x-tidegate-priority': 'batch',
    authorization: 'Bearer gateway-key',
  };
  const headers = upstreamHeaders({ requestId: 'req_1', headers: asked }, 0);
  const request = chatRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }] });
  for await (const event of provider.stream(request, { signal: never, headers })) void event;
  const seen = upstream.requests[0]?.headers ?? {};
  expect(seen.authorization).toBe('Bearer mine');
  expect(seen['x-request-id']).toBe('req_1');
  expect(Object.keys(seen).filter((name) => name.startsWith('x-tidegate'))).toEqual([]);
});
