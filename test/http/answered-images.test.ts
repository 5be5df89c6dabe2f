import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageNote } from '../../src/wire/openai/images.ts';
import { done, type FaultyUpstream, faultyUpstream, sse } from '../faulty-upstream.ts';
import { appOver } from '../routing/pass-through/harness.ts';
import { post } from './post.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const url = 'data:image/png;base64,iVBORw0KGgo=';
const image = { type: 'image_url', image_url: { url } };
const candidate = (parts: object[], more: object = {}) => ({
  candidates: [{ content: { role: 'model', parts }, index: 0, ...more }],
});
const base = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm' };
const upstreams = {
  // https://ai.google.dev/gemini-api/docs/image-generation
  gemini: sse(
    candidate([{ text: 'A cat:' }]),
    candidate([{ inlineData: { mimeType: 'image/png', data: 'iVBORw0KGgo=' } }], { finishReason: 'STOP' }),
  ),
  // https://openrouter.ai/docs/guides/overview/multimodal/image-generation
  openrouter:
    sse(
      { ...base, choices: [{ index: 0, delta: { role: 'assistant', content: 'A cat:' } }] },
      { ...base, choices: [{ index: 0, delta: { content: '', images: [{ ...image, index: 0 }] } }] },
      { ...base, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
    ) + done,
};
const user = [{ role: 'user', content: 'Draw.' }];
const others = [
  { path: '/v1/messages', body: { max_tokens: 9, messages: user } },
  { path: '/v1/responses', body: { input: 'Draw.', store: false } },
  { path: '/api/chat', body: { messages: user } },
];

const asked = async (type: keyof typeof upstreams, path: string, body: object) => {
  upstream.answer({ body: [upstreams[type]] });
  const reply = await post(appOver(upstream, type), path, { model: 'test', ...body });
  expect(reply.status).toBe(200);
  return reply;
};

test.each(['gemini', 'openrouter'] as const)(
  'pictures that %s makes reach chat as they are, and others are told of them',
  async (type) => {
    const chat = (await (await asked('gemini', '/v1/chat/completions', { messages: user })).json()) as {
      choices: object[];
    };
    expect(chat.choices[0]).toMatchObject({ message: { content: 'A cat:', annotations: [], images: [image] } });
    const chunks = await (await asked(type, '/v1/chat/completions', { messages: user, stream: true })).text();
    expect(chunks).toContain(url);
    expect(chunks).toContain('"images":[{"type":"image_url"');
    for (const { path, body } of others) {
      for (const stream of [false, true]) {
        const text = await (await asked(type, path, { ...body, stream })).text();
        expect(text, `${path} ${stream}`).toContain(imageNote);
        expect(text).not.toContain('iVBORw0KGgo=');
      }
    }
  },
);
