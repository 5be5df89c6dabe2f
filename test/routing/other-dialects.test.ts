import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeDelivered } from '../../providers/delivered.ts';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith } from '../app.ts';
import { type Answer, chatStream, type FaultyUpstream, faultyUpstream, named, sse } from '../faulty-upstream.ts';
import { transport } from '../providers/support.ts';
import { scripted } from '../scripted.ts';
import { rules } from './harness.ts';

const whole = 'Hello world, how is the tide?';
let broken: FaultyUpstream;
let healthy: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
  healthy = await faultyUpstream(({ json, path }): Answer => {
    if (path.endsWith('/completions') && json.prompt) {
      const text = whole.slice(String(json.prompt).length - 'Say: '.length);
      return { body: [sse({ id: 'other', choices: [{ index: 0, text, finish_reason: 'stop' }] }, '[DONE]')] };
    }
    const begun = String(json.messages.at(-1)?.content ?? '');
    return { body: [chatStream([whole.slice(begun.length)], { usage: true })] };
  });
});
afterAll(() => Promise.all([broken.close(), healthy.close()]));

function appOver(type: string) {
  const of = (name: string, kind: string, { baseUrl }: FaultyUpstream) => ({
    name: `${name}/m`,
    model: 'm',
    provider: createProvider(name, providerConfigSchema.parse({ type: kind, baseUrl, apiKey: 'k' }), { transport }),
  });
  const targets = [of('broken', type, broken), of('healthy', 'vllm', healthy)];
  const model = { name: 'test', filters: [], targets, rules: rules(targets) };
  return appWith(scripted([]), { routing: createRouting([model], undefined, { decodeWire: decodeDelivered }) });
}

const post = (app: ReturnType<typeof appOver>, path: string, body: object) =>
  app.request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'test', stream: true, ...body }),
  });

const dataOf = (body: string) =>
  body
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)));

const begin = named('message_start', {
  type: 'message_start',
  message: {
    id: 'msg_up',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [],
    usage: { input_tokens: 9, output_tokens: 1 },
  },
});
const block = (index: number, content_block: object) =>
  named('content_block_start', { type: 'content_block_start', index, content_block });
const delta = (index: number, fields: object) =>
  named('content_block_delta', { type: 'content_block_delta', index, delta: fields });
const messages = { max_tokens: 200, messages: [{ role: 'user', content: 'hi' }] };

test('an Anthropic message that breaks in a text block is finished in that block, after its own thinking', async () => {
  broken.answer({
    body: [
      begin,
      block(0, { type: 'thinking', thinking: '', signature: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'hm' }),
      named('content_block_stop', { type: 'content_block_stop', index: 0 }),
      block(1, { type: 'text', text: '' }),
      delta(1, { type: 'text_delta', text: 'Hello' }),
      delta(1, { type: 'text_delta', text: ' world' }),
      'reset',
    ],
  });
  const app = appOver('anthropic');
  const events = dataOf(await (await post(app, '/v1/messages', messages)).text());
  expect(events.map(({ type }) => type)).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'content_block_start',
    'content_block_delta',
    'content_block_delta',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
  expect(
    events
      .filter(({ type, index }) => type === 'content_block_delta' && index === 1)
      .map((event) => event.delta.text)
      .join(''),
  ).toBe(whole);
  expect(events.at(-2)).toMatchObject({ delta: { stop_reason: 'end_turn' } });
  expect(app.records).toMatchObject([
    { outcome: 'ok', usage: { parts: [{ target: 'broken/m' }, { target: 'healthy/m' }] } },
  ]);
});

test('between two blocks nobody can tell whether it was over: the client gets the error', async () => {
  broken.answer({
    body: [
      begin,
      block(0, { type: 'text', text: '' }),
      delta(0, { type: 'text_delta', text: 'Hello' }),
      named('content_block_stop', { type: 'content_block_stop', index: 0 }),
      'reset',
    ],
  });
  const events = dataOf(await (await post(appOver('anthropic'), '/v1/messages', messages)).text());
  expect(events.at(-1)).toMatchObject({ type: 'error', error: { type: 'api_error' } });
});

test('a legacy completion goes on under its own id', async () => {
  const chunk = (text: string) =>
    sse({
      id: 'cmpl-up',
      object: 'text_completion',
      created: 5,
      model: 'up',
      choices: [{ index: 0, text, logprobs: null, finish_reason: null }],
    });
  broken.answer({ body: [chunk('Hello'), chunk(' world'), 'reset'] });
  const body = await (await post(appOver('vllm'), '/v1/completions', { prompt: 'Say: ' })).text();
  const chunks = dataOf(body);
  expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(whole);
  expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`))).toEqual(new Set(['cmpl-up 5']));
  expect(body.trimEnd().endsWith('data: [DONE]')).toBe(true);
});
