import { afterAll, beforeAll, expect, test } from 'vitest';
import { done, type FaultyUpstream, faultyUpstream, json, sse } from '../faulty-upstream.ts';
import { appOver } from '../routing/pass-through/harness.ts';
import { post } from './post.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

// https://docs.perplexity.ai/api-reference/chat-completions-post
const found = {
  citations: ['https://a.example', 'https://b.example'],
  search_results: [
    { title: 'A', url: 'https://a.example', date: '2026-01-01' },
    { title: 'B', url: 'https://b.example', date: null },
  ],
};
const base = { id: 'c', created: 1, model: 'sonar', ...found };
const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...base,
  object: 'chat.completion.chunk',
  choices: [{ index: 0, delta, finish_reason }],
});
const stream = sse(chunk({ role: 'assistant', content: 'Tide' }), chunk({ content: ' [1][2].' }), chunk({}, 'stop'));
const answer = () => upstream.answer({ body: [stream + done] });

const dialects = {
  '/v1/messages': { max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] },
  '/v1/responses': { input: 'hi', store: false },
};
const location = (title: string, url: string) => ({
  type: 'web_search_result_location',
  url,
  title,
  cited_text: '',
  encrypted_index: '',
});
const flat = (title: string, url: string) => ({ type: 'url_citation', title, start_index: 0, end_index: 0, url });

test('pages that an upstream names for its whole answer are citations in every API that has them', async () => {
  const app = appOver(upstream, 'perplexity');
  const asked = async (path: keyof typeof dialects, stream: boolean) => {
    answer();
    const reply = await post(app, path, { model: 'test', stream, ...dialects[path] });
    expect(reply.status).toBe(200);
    return reply;
  };
  const message = await (await asked('/v1/messages', false)).json();
  const cited = [location('A', 'https://a.example'), location('B', 'https://b.example')];
  expect(message).toMatchObject({ content: [{ type: 'text', text: 'Tide [1][2].', citations: cited }] });
  const messages = await (await asked('/v1/messages', true)).text();
  for (const citation of cited) {
    expect(messages).toContain(
      JSON.stringify({ type: 'content_block_delta', index: 0, delta: { type: 'citations_delta', citation } }),
    );
  }
  const annotations = [flat('A', 'https://a.example'), flat('B', 'https://b.example')];
  const whole = (await (await asked('/v1/responses', false)).json()) as { output: { content: object[] }[] };
  expect(whole.output[0]?.content[0]).toMatchObject({ text: 'Tide [1][2].', annotations });
  const events = await (await asked('/v1/responses', true)).text();
  for (const annotation of annotations) expect(events).toContain(`"annotation":${JSON.stringify(annotation)}`);
});

test('they do not reach the API whose own they are not', async () => {
  const turn = { type: 'text', text: 'Tide [1].', citations: [location('A', 'https://a.example')] };
  const own = {
    type: 'text',
    text: 'Ebb.',
    citations: [{ ...location('C', 'https://c.example'), encrypted_index: 'Eo8' }],
  };
  upstream.answer(
    json({
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [{ type: 'text', text: 'up' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 1, output_tokens: 1 },
    }),
  );
  const messages = [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: [turn, own] },
    { role: 'user', content: 'And?' },
  ];
  const reply = await post(appOver(upstream, 'anthropic'), '/v1/messages', { model: 'test', max_tokens: 9, messages });
  expect(reply.status).toBe(200);
  expect(upstream.requests.at(-1)?.json['messages']).toEqual([
    messages[0],
    { role: 'assistant', content: [{ type: 'text', text: 'Tide [1].' }, own] },
    messages[2],
  ]);
});
