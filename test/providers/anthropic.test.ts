import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { readable } from '../../src/core/request.ts';
import { decodeMessagesRequest } from '../../src/wire/anthropic/decode.ts';
import { type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { hear, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const cached = { cache_control: { type: 'ephemeral' } };
const call = { type: 'tool_use', id: 't', name: 'f', input: {} };
const paper = { type: 'document', source: { type: 'url', url: 'https://a.example/b.pdf' } };
const messages = [{ role: 'user', content: 'Hi' }];

test.each([
  { name: 'adaptive thinking', thinking: { type: 'adaptive', display: 'summarized' } },
  { name: 'thinking of a kind', thinking: { type: 'enabled', budget_tokens: 2048, display: 'omitted' } },
  { name: 'no thinking', thinking: { type: 'disabled' } },
  { name: 'an effort', output_config: { effort: 'low' } },
  { name: 'the tier', service_tier: 'standard_only' },
  { name: 'a strict tool', tools: [{ name: 'f', input_schema: { type: 'object' }, strict: true }] },
  { name: 'a field of a beta', context_management: { edits: [] } },
  { name: 'a document by its address', messages: [{ role: 'user', content: [paper] }] },
  {
    name: 'the cache mark of a result',
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
      { role: 'assistant', content: [call] },
      {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'r' }], ...cached }],
      },
    ],
  },
])('$name reaches the same API as it was, also where filters have read the request', async ({ name: _, ...asked }) => {
  const content = [{ type: 'text', text: 'ok' }];
  upstream.answer(json({ id: 'm', type: 'message', role: 'assistant', content, stop_reason: 'end_turn' }));
  const config = providerConfigSchema().parse({ type: 'anthropic', baseUrl: upstream.baseUrl, apiKey: 'k' });
  const body = { model: 'm', max_tokens: 9000, messages, ...asked };
  const source = { headers: { 'anthropic-beta': 'one,two' } };
  const provider = createProvider('up', config, { transport });
  expect((await hear(provider, readable(decodeMessagesRequest(body, source)))).text).toBe('ok');
  const sent = upstream.requests.at(-1);
  expect(sent?.json).toMatchObject(asked);
  expect(sent?.headers['anthropic-beta']).toBe('one,two');
  if (!('thinking' in asked)) expect(sent?.json).not.toHaveProperty('thinking');
});
