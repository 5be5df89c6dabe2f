import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { type RealGateway, realGateway } from './real-gateway.ts';

const keys = { red: 'red-key-of-this-test-0123456789', blue: 'blue-key-of-this-test-012345678' };
let upstream: FaultyUpstream;
let it: RealGateway;
beforeAll(async () => {
  // The classifier and all targets are models of one server; it tells which one was asked.
  upstream = await faultyUpstream((request) => {
    const { model, messages } = request.json;
    const said = String(messages.at(-1).content);
    return openaiServer([model === 'classifier' ? (said.includes('function') ? 'code' : 'chat') : model])(request);
  });
  const target = (model: string, when?: string) =>
    `{ provider: up, model: ${model}${when ? `, when: '${when}'` : ''} }`;
  it = await realGateway(`
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }
keys:
  fixed:
    - { name: red, key: "${keys.red}", team: red, tags: [eu] }
    - { name: blue, key: "${keys.blue}", team: blue }
models:
  m:
    targets:
      - ${target('gold', 'metadata.tier == "gold"')}
      - ${target('long', 'request.promptTokens > 500')}
      - ${target('german', 'language == "de"')}
      - ${target('tools', '"search" in request.tools')}
      - ${target('pictures', 'request.images')}
      - ${target('batch', 'request.priority == "batch"')}
      - ${target('messages', 'request.dialect == "anthropic-messages"')}
      - ${target('europe', '"eu" in caller.tags && caller.team == "red"')}
      - ${target('code', 'label == "code"')}
      - ${target('rest')}
    classifier: { target: { provider: up, model: classifier }, labels: { code: programming, chat: all else }, timeout: 10s }
`);
});
afterAll(async () => {
  await it[Symbol.asyncDispose]();
  await upstream.close();
});

const user = (content: unknown) => ({ messages: [{ role: 'user', content }] });
const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
const search = { type: 'function', function: { name: 'search', parameters: { type: 'object', properties: {} } } };

test.each<{ by: string; target: string; body?: object; key?: string; headers?: Record<string, string>; path?: string }>(
  [
    { by: 'metadata', target: 'gold', body: { ...user('hi'), metadata: { tier: 'gold' } } },
    { by: 'other metadata', target: 'rest', body: { ...user('hi'), metadata: { tier: 'tin' } } },
    { by: 'size', target: 'long', body: user('word '.repeat(600)) },
    { by: 'language', target: 'german', body: user('Wie ist das Wetter heute und wo ist der Hund?') },
    { by: 'tools', target: 'tools', body: { ...user('hi'), tools: [search] } },
    { by: 'images', target: 'pictures', body: user([{ type: 'text', text: 'hi' }, picture]) },
    { by: 'priority', target: 'batch', body: user('hi'), headers: { 'x-tidegate-priority': 'batch' } },
    { by: 'dialect', target: 'messages', body: { ...user('hi'), max_tokens: 9 }, path: '/v1/messages' },
    { by: 'caller', target: 'europe', body: user('hi'), key: keys.red },
    { by: 'a classifier', target: 'code', body: user('Write a function that adds.') },
    { by: 'nothing of all this', target: 'rest', body: user('hi') },
  ],
)(
  'a request is routed by $by',
  async ({ target, body = {}, key = keys.blue, headers, path = '/v1/chat/completions' }) => {
    const response = await it.post(path, body, { authorization: `Bearer ${key}`, ...headers });
    expect([response.status, response.headers.get('x-tidegate-target')]).toEqual([200, `up/${target}`]);
  },
);
