import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { ForwardRequest } from '../../src/core/provider.ts';
import { anonymous } from '../../src/core/run.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post } from './post.ts';

const got: ForwardRequest[] = [];
const able = {
  ...scripted([]),
  async forward(request: ForwardRequest) {
    got.push(request);
    async function* body() {
      yield Uint8Array.of(1, 2);
      yield Uint8Array.of(3);
    }
    return { status: 200, headers: { 'content-type': 'audio/mpeg' }, body: body() };
  },
};

test('speech goes to the target under its own model name and comes back byte for byte', async () => {
  const response = await post(appWith(able), '/v1/audio/speech', { model: 'test', input: 'Hi', voice: 'alloy' });
  expect(response.headers.get('content-type')).toBe('audio/mpeg');
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(Uint8Array.of(1, 2, 3));
  expect(got.at(-1)).toMatchObject({ path: '/audio/speech', method: 'POST' });
  expect(JSON.parse(new TextDecoder().decode(got.at(-1)?.body))).toEqual({ model: 'm', input: 'Hi', voice: 'alloy' });
});

test('an answer that breaks off at the upstream breaks off here too, and never ends as if it were whole', async () => {
  async function* body() {
    yield Uint8Array.of(1, 2);
    throw new GatewayError('upstream_failed', 'The upstream broke off.');
  }
  const breaking = { ...able, forward: async () => ({ status: 200, headers: {}, body: body() }) };
  const response = await post(appWith(breaking), '/v1/audio/speech', { model: 'test', input: 'Hi', voice: 'alloy' });
  expect(response.status).toBe(200);
  await expect(response.arrayBuffer()).rejects.toThrow();
});

test('a form keeps its file, with the model’s name exchanged', async () => {
  const form = new FormData();
  form.set('model', 'test');
  form.set('file', new File([Uint8Array.of(0, 255, 13, 10)], 'a.wav'));
  const response = await appWith(able).request('/v1/audio/transcriptions', { method: 'POST', body: form });
  expect(response.status).toBe(200);
  const { headers, body } = got.at(-1) ?? { headers: {}, body: undefined };
  const sent = await new Response(body?.slice().buffer, { headers }).formData();
  expect(sent.get('model')).toBe('m');
  const file = sent.get('file');
  expect(file instanceof File && new Uint8Array(await file.arrayBuffer())).toEqual(Uint8Array.of(0, 255, 13, 10));
});

test.each([
  { name: 'a model that can’t', body: { model: 'test' }, app: appWith(scripted([])), status: 400, param: 'model' },
  { name: 'no model', body: {}, app: appWith(able), status: 400, param: 'model' },
  { name: 'an unknown model', body: { model: 'nope' }, app: appWith(able), status: 404, param: 'model' },
])('$name is refused openly', async ({ body, app, status, param }) => {
  const response = await post(app, '/v1/images/generations', body);
  expect([response.status, ((await response.json()) as Answer).error.param]).toEqual([status, param]);
});

test('models are loaded and unloaded by administrators only', async () => {
  const done: string[] = [];
  const modelControl = {
    load: async (name: string) => void done.push(`load ${name}`),
    unload: async (name: string) => void done.push(`unload ${name}`),
  };
  const admin = appWith(scripted([]), { modelControl });
  expect((await post(admin, '/v1/models/load', { model: 'test' })).status).toBe(200);
  expect((await post(admin, '/models/unload', { model: 'test' })).status).toBe(200);
  await post(admin, '/api/generate', { model: 'test:latest' });
  await post(admin, '/api/generate', { model: 'test', keep_alive: 0 });
  expect(done.splice(0)).toEqual(['load test', 'unload test', 'load test', 'unload test']);
  const caller = appWith(scripted([]), { modelControl, policy: openPolicy({ ...anonymous, role: 'caller' }) });
  expect((await post(caller, '/v1/models/load', { model: 'test' })).status).toBe(403);
  await post(caller, '/api/generate', { model: 'test', keep_alive: 0 });
  expect(done).toEqual([]);
  expect((await post(appWith(scripted([])), '/v1/models/load', { model: 'test' })).status).toBe(400);
});
