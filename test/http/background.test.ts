import { expect, onTestFinished, test } from 'vitest';
import type { ObjectStore } from '../../src/core/objects.ts';
import { anonymous } from '../../src/core/run.ts';
import { createActiveRequests } from '../../src/http/active.ts';
import { createStreamLogs } from '../../src/http/stream-log.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { appWith } from '../app.ts';
import { type Step, scripted } from '../scripted.ts';
import { type Answer, events, post } from './post.ts';
import { connection, database, until } from './shared-store.ts';

const respond = (app: ReturnType<typeof appWith>, body: object = {}) =>
  post(app, '/v1/responses', { model: 'test', input: 'Hi', ...body });
const json = async (response: Response | Promise<Response>): Promise<Answer> => (await response).json();
const hello = { model: 'test', stream: true, messages: [{ role: 'user', content: 'Hi' }] };
const resumable = { 'x-tidegate-resumable': '1' };

test('a background response goes on alone, and its events can be read from any point', async () => {
  const app = appWith(scripted(['Hel', 30, 'lo']));
  const queued = await json(respond(app, { background: true }));
  expect(queued).toMatchObject({ status: 'queued', background: true, output: [] });
  const all = await events(await app.request(`/v1/responses/${queued.id}?stream=true`));
  expect(all.slice(0, 3).map((event) => event.type)).toEqual([
    'response.created',
    'response.queued',
    'response.in_progress',
  ]);
  expect(all.at(-1)).toMatchObject({ type: 'response.completed', sequence_number: all.length - 1 });
  const rest = await events(await app.request(`/v1/responses/${queued.id}?stream=true&starting_after=4`));
  expect(rest).toEqual(all.slice(5));
  expect(await json(app.request(`/v1/responses/${queued.id}`))).toEqual(all.at(-1).response);
});

test('a background response can be cancelled, a finished one can’t', async () => {
  const provider = scripted(['Hel', 60_000, 'lo']);
  const app = appWith(provider);
  const { id } = await json(respond(app, { background: true }));
  const cancelled = await json(post(app, `/v1/responses/${id}/cancel`, {}));
  expect(cancelled).toMatchObject({ id, status: 'cancelled' });
  expect(provider.aborted).toBe(1);
  expect(await json(post(app, `/v1/responses/${id}/cancel`, {}))).toMatchObject({ status: 'cancelled' });
  const done = await json(respond(appWith(scripted(['x']))));
  expect((await post(app, `/v1/responses/${done.id}/cancel`, {})).status).toBe(404);
});

test.each([
  { path: '/v1/chat/completions', asked: { messages: [{ role: 'user', content: 'Hi' }] } },
  { path: '/v1/completions', asked: { prompt: 'Hi' } },
  { path: '/infill', asked: { input_prefix: 'Hi', input_suffix: '' } },
])('a resumable stream of $path misses nothing when its reader comes back', async ({ path, asked }) => {
  const provider = scripted(['a', 'b', 20, 'c']);
  const app = appWith(provider);
  const body = { model: 'test', stream: true, ...asked };
  const first = await post(app, path, body, { 'x-tidegate-resumable': '1' });
  const id = first.headers.get('x-tidegate-stream-id');
  const reader = first.body?.getReader();
  const start = new TextDecoder().decode((await reader?.read())?.value);
  await reader?.cancel();
  const lastSeen = [...start.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1] ?? '';
  const again = await (await post(app, path, body, { 'last-event-id': lastSeen })).text();
  const whole = await (await app.request(`/v1/streams/${id}`)).text();
  expect(start + again).toBe(whole);
  expect(provider.requests).toHaveLength(1); // nothing was made anew
  expect((await post(app, path, body, { 'last-event-id': 'strm_gone:1' })).status).toBe(404);
});

test('a stream of another caller is not found, whichever way it is asked for', async () => {
  const streams = createStreamLogs();
  const first = await post(appWith(scripted(['a', 'b']), { streams }), '/v1/chat/completions', hello, resumable);
  const id = first.headers.get('x-tidegate-stream-id');
  await first.text();
  const other = appWith(scripted(['mine']), { streams, policy: openPolicy({ ...anonymous, id: 'other' }) });
  expect((await other.request(`/v1/streams/${id}`)).status).toBe(404);
  expect((await post(other, '/v1/chat/completions', hello, { 'last-event-id': `${id}:0` })).status).toBe(404);
});

/** One of several gateways on a store, or the same one before and after a restart. */
function gatewayOn(store: ObjectStore, steps: readonly Step[], caller = 'anonymous') {
  const { objects, cut } = connection(store);
  const active = createActiveRequests();
  onTestFinished(() => active.abortAll());
  const policy = openPolicy({ ...anonymous, id: caller });
  const streams = createStreamLogs({ objects, flushMs: 5, aliveMs: 1000 });
  return Object.assign(appWith(scripted(steps), { objects, active, streams, policy }), { crash: cut });
}
const textOf = (response: Answer): string => response.output[0]?.content[0]?.text ?? '';

test('after a restart the events of a background response can still be read from any point', async () => {
  const store = await database();
  const before = gatewayOn(store, ['Hel', 'lo']);
  const { id } = await json(respond(before, { background: true }));
  const all = await events(await before.request(`/v1/responses/${id}?stream=true`));
  await until(async () => (await store.get('stream', id, 'anonymous'))?.body['done'] === true);
  const after = gatewayOn(store, []);
  expect(await events(await after.request(`/v1/responses/${id}?stream=true`))).toEqual(all);
  expect(await events(await after.request(`/v1/responses/${id}?stream=true&starting_after=4`))).toEqual(all.slice(5));
  expect(await json(after.request(`/v1/responses/${id}`))).toEqual(all.at(-1).response);
  expect((await gatewayOn(store, [], 'bob').request(`/v1/responses/${id}?stream=true`)).status).toBe(404);
});

test('a background response whose gateway is gone has failed, with what there was of it', async () => {
  const store = await database();
  const before = gatewayOn(store, ['Hel', 1100, 'lo', 60_000]);
  const { id } = await json(respond(before, { background: true }));
  await until(async () => textOf(await json(before.request(`/v1/responses/${id}`))) === 'Hello');
  await until(async () => (await store.list('stream-part', 'anonymous', { limit: 9, order: 'asc' })).items.length > 1);
  before.crash();
  const after = gatewayOn(store, []);
  await until(async () => (await json(after.request(`/v1/responses/${id}`))).status === 'failed');
  const failed = await json(after.request(`/v1/responses/${id}`));
  expect(failed).toMatchObject({ error: { code: 'server_error' }, output: [{ status: 'incomplete' }] });
  expect(textOf(failed)).toBe('Hello');
  const all = await events(await after.request(`/v1/responses/${id}?stream=true`));
  expect(all.slice(-2)).toMatchObject([{ type: 'error', code: 'gateway_stopped' }, { type: 'response.failed' }]);
  expect(all.map((event) => event.sequence_number)).toEqual(all.map((_, index) => index));
  // a reader who had seen more than was written down hears of the end all the same
  const rest = await events(await after.request(`/v1/responses/${id}?stream=true&starting_after=50`));
  expect(rest.map((event) => [event.type, event.sequence_number])).toEqual([
    ['error', 51],
    ['response.failed', 52],
  ]);
  expect((await post(after, `/v1/responses/${id}/cancel`, {})).status).toBe(400);
});

test('a background response is followed, cancelled and deleted through another gateway', async () => {
  const store = await database();
  const one = gatewayOn(store, ['Hel', 100, 'lo', 60_000]);
  const two = gatewayOn(store, []);
  const { id } = await json(respond(one, { background: true }));
  const reader = (await two.request(`/v1/responses/${id}?stream=true`)).text();
  expect(await json(post(two, `/v1/responses/${id}/cancel`, {}))).toMatchObject({ id, status: 'cancelled' });
  expect(await reader).toContain('"delta":"Hel"');
  const second = await json(respond(one, { background: true }));
  expect(await json(two.request(`/v1/responses/${second.id}`, { method: 'DELETE' }))).toMatchObject({ deleted: true });
  expect((await one.request(`/v1/responses/${second.id}`)).status).toBe(404);
  expect((await store.list('stream-part', 'anonymous', { limit: 9, order: 'asc', idPrefix: second.id })).items).toEqual(
    [],
  );
});

test('a response deleted while it is made does not come back when it ends', async () => {
  const provider = scripted(['Hel', 60_000, 'lo']);
  const app = appWith(provider);
  const { id } = await json(respond(app, { background: true }));
  expect((await app.request(`/v1/responses/${id}`, { method: 'DELETE' })).status).toBe(200);
  expect(provider.aborted).toBe(1);
  expect((await app.request(`/v1/responses/${id}`)).status).toBe(404);
});

test('a resumable stream whose gateway is gone ends with an error where it stopped, and never with [DONE]', async () => {
  const store = await database();
  const before = gatewayOn(store, ['a', 'b', 60_000]);
  const first = await post(before, '/v1/chat/completions', hello, resumable);
  const id = first.headers.get('x-tidegate-stream-id') ?? '';
  await until(async () => (await store.list('stream-part', 'anonymous', { limit: 9, order: 'asc' })).items.length > 0);
  await first.body?.cancel();
  before.crash();
  const after = gatewayOn(store, []);
  const again = await post(after, '/v1/chat/completions', hello, { 'last-event-id': `${id}:0` });
  expect([again.status, again.headers.get('x-tidegate-stream-id')]).toEqual([200, id]);
  const text = await again.text();
  expect([...text.matchAll(/^id: \S+:(\d+)$/gm)].map((match) => Number(match[1]))).toEqual([1, 2, 3]);
  expect(text.trimEnd().split('\n').at(-1)).toMatch(/^data: \{"error":\{"message":.+"code":"gateway_stopped"\}\}$/);
});

test('a stream is resumed by its own caller only, at a place that it has', async () => {
  const store = await database();
  const app = gatewayOn(store, ['a', 'b']);
  const first = await post(app, '/v1/chat/completions', hello, resumable);
  expect(first.headers.get('x-tidegate-target')).toBe('scripted/m');
  const id = first.headers.get('x-tidegate-stream-id');
  const last = [...(await first.text()).matchAll(/^id: \S+:(\d+)$/gm)].length - 1;
  const come = async (place: string, by: ReturnType<typeof appWith> = app, path = '/v1/chat/completions') => {
    const headers = { 'last-event-id': place };
    const response = path.includes('streams')
      ? await by.request(path, { headers })
      : await post(by, path, hello, headers);
    return [response.status, (await response.text()) === ''];
  };
  expect(await come(`${id}:${last}`)).toEqual([204, true]);
  expect(await come(`${id}:${last - 1}`)).toEqual([200, false]);
  expect(await come(`${id}:${last + 1}`)).toEqual([400, false]);
  expect(await come('strm_unknown:0')).toEqual([404, false]);
  expect(await come(`${id}:0`, gatewayOn(store, [], 'bob'))).toEqual([404, false]);
  expect(await come(`${id}:0`, gatewayOn(store, [], 'bob'), `/v1/streams/${id}`)).toEqual([404, false]);
  expect(await come(`${id}:${last}`, app, `/v1/streams/${id}`)).toEqual([204, true]);
});

test('a resumable stream that can’t begin is refused by a status', async () => {
  const response = await post(appWith(scripted([])), '/v1/chat/completions', { ...hello, model: 'nope' }, resumable);
  expect([response.status, (await json(response)).error.code]).toEqual([404, 'model_not_found']);
});
