import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream, sse } from '../../faulty-upstream.ts';
import { appOver, post, whole } from './harness.ts';

let silent: FaultyUpstream;
beforeAll(async () => {
  silent = await faultyUpstream();
});
afterAll(() => silent.close());

const named = (type: string, more: object = {}) => `event: ${type}\n${sse({ type, ...more })}`;
const response = { id: 'resp_up', object: 'response', status: 'in_progress', model: 'up', output: [], error: null };
const choice = { index: 0, delta: { role: 'assistant', content: '', refusal: null }, finish_reason: null };

// Servers send an answer's head as soon as they have the request: no token has come with it.
const heads = [
  {
    type: 'vllm',
    path: '/v1/chat/completions',
    asked: { messages: [{ role: 'user', content: 'hi' }] },
    head: [sse({ id: 'up', object: 'chat.completion.chunk', created: 5, model: 'up', choices: [choice] })],
  },
  {
    type: 'openai',
    path: '/v1/responses',
    asked: { input: 'hi', store: false },
    head: [named('response.created', { response }), named('response.in_progress', { response })],
  },
  {
    type: 'anthropic',
    path: '/v1/messages',
    asked: { max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] },
    head: [
      named('message_start', {
        message: {
          id: 'msg_up',
          type: 'message',
          role: 'assistant',
          model: 'up',
          content: [],
          usage: { input_tokens: 3 },
        },
      }),
      named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      named('ping'),
    ],
  },
];

test.each(heads)(
  'after the head of an answer alone, $path asks the next target too',
  async ({ type, path, asked, head }) => {
    silent.answer({ body: [...head, 'stall'] });
    const app = appOver(silent, type, undefined, { hedge: { afterMs: 50 } });
    const body = await (await post(app, path, asked)).text();
    expect(body).not.toContain('_up');
    expect(body).toContain(whole);
    expect(app.records).toMatchObject([{ outcome: 'ok', target: 'healthy/m' }]);
  },
);

test.each(heads)(
  'who sends the head of an answer to $path and no token in time is left for the next',
  async ({ type, path, asked, head }) => {
    silent.answer({ body: [...head, 'stall'] });
    const timeouts = { firstTokenMs: 100, idleMs: 20_000, totalMs: 0 };
    const app = appOver(silent, type, undefined, { timeouts });
    const body = await (await post(app, path, asked)).text();
    expect(body).toContain(whole);
    expect(app.records[0]?.ttftMs).toBeGreaterThan(90);
  },
);
