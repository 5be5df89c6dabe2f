import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { anonymous } from '../../src/core/run.ts';
import { createHistory } from '../../src/observability/history.ts';
import { createMovingQuantiles } from '../../src/observability/quantiles.ts';
import { decodeSse } from '../../src/wire/sse.ts';
import { ask, contextOf } from '../request.ts';
import { adminApp, post } from './admin-app.ts';
import { answerOf, drain, scripted, steppedClock } from './harness.ts';

const messages = [{ role: 'user', content: 'hi' }];
const chat = { model: 'demo', messages };
const member = { ...anonymous, id: 'key_1', role: 'caller' as const };

test('feedback is tied to the model, the version and the answer it is about', async () => {
  const { app, given } = adminApp({ providers: [scripted('up', answerOf('a'))] });
  const answer = await (await app.request('/v1/chat/completions', post(chat))).json();
  const response = await app.request(
    '/v1/feedback',
    post({ response_id: answer.id, score: 1, label: 'helpful', comment: 'Right.' }),
  );
  expect(response.status).toBe(201);
  expect(await response.json()).toMatchObject({
    object: 'feedback',
    model: 'demo',
    target: 'up/m',
    score: 1,
    label: 'helpful',
    response_id: answer.id.replace('chatcmpl-', ''),
  });
  expect(given).toMatchObject([{ model: 'demo', target: 'up/m', score: 1 }]);
  expect(await (await app.request('/admin/feedback')).json()).toMatchObject({ data: [{ comment: 'Right.' }] });
});

test.each([
  { body: { response_id: 'chatcmpl-nothing', score: 1 }, status: 404, param: 'response_id' },
  { body: { score: 1 }, status: 400, param: 'response_id' },
  { body: { response_id: 'x', score: 7 }, status: 400, param: 'score' },
  { body: { response_id: 'x', score: 1, label: 'y'.repeat(65) }, status: 400, param: 'label' },
])('feedback $body is refused with $status', async ({ body, status, param }) => {
  const { app } = adminApp({ providers: [scripted('up', answerOf('a'))] });
  const response = await app.request('/v1/feedback', post(body));
  expect(response.status).toBe(status);
  expect((await response.json()).error.param).toBe(param);
});

test('an answer can be explained: its attempts, its stages, and token by token where that was asked for', async () => {
  const token = (text: string, logprob: number) => ({
    type: 'text-delta' as const,
    choice: 0,
    text,
    logprobs: [{ token: text, logprob, bytes: null, top: [{ token: 'other', logprob: -2, bytes: null }] }],
  });
  const down = scripted('bad', [new GatewayError('upstream_failed', 'down')]);
  const { app } = adminApp({
    providers: [down, scripted('up', [token('a', 0), token('b', Math.log(0.5)), ...answerOf()])],
  });
  const asked = post({ ...chat, logprobs: true, top_logprobs: 1 }, { 'x-tidegate-explain': 'tokens' });
  const { id } = await (await app.request('/v1/chat/completions', asked)).json();
  const explanation = await (await app.request(`/v1/explanations/${id}`)).json();
  expect(explanation).toMatchObject({
    object: 'explanation',
    target: 'up/m',
    attempts: [{ target: 'bad/m', error: { kind: 'upstream_failed' } }, { target: 'up/m' }],
    tokens: [
      { token: 'a', probability: 1 },
      { token: 'b', probability: 0.5, alternatives: [{ token: 'other' }] },
    ],
    confidence: { mean: 0.75, lowest: 0.5 },
  });
  const plain = await (await app.request('/v1/chat/completions', post({ ...chat, logprobs: true }))).json();
  expect((await (await app.request(`/v1/explanations/${plain.id}`)).json()).tokens).toBeUndefined();
});

test('only an admin sees other people’s requests', async () => {
  const { app, history } = adminApp({ providers: [scripted('up', answerOf('a'))], caller: member });
  const { id } = await (await app.request('/v1/chat/completions', post(chat))).json();
  expect((await app.request(`/v1/explanations/${id}`)).status).toBe(200);
  const [mine] = history.find({});
  if (mine) history.sink({ ...mine.record, requestId: 'theirs', answerId: 'theirs', callerId: 'key_2' });
  expect((await app.request('/v1/explanations/theirs')).status).toBe(404);
  for (const path of ['/admin/requests', '/admin/live', '/admin/status', '/admin/feedback']) {
    expect((await app.request(path)).status).toBe(403);
  }
  expect(await (await app.request('/admin/me')).json()).toMatchObject({
    id: 'key_1',
    role: 'caller',
    version: '1.2.3',
  });
});

test('under load an even share of what went well is kept, and all that failed', async () => {
  const { gateway, history: first } = adminApp({ providers: [scripted('up', answerOf('a'))] });
  await drain((await gateway.stream(ask(), contextOf({}))).events);
  const [answered] = first.find({});
  const history = createHistory({ size: 2000 });
  for (let startedMs = 0; answered && startedMs < 60_000; startedMs++) {
    const outcome = startedMs % 100 === 0 ? 'timeout' : 'ok';
    history.sink({ ...answered.record, outcome, startedMs, durationMs: 0 }); // a thousand a second
  }
  const found = history.find({ limit: 2000 });
  const ages = found.map(({ record }) => 59_999 - record.startedMs);
  expect(found.length).toBe(2000);
  expect(Math.max(...ages)).toBeGreaterThan(15_000);
  expect(ages.filter((ms) => ms < 1000).length).toBeGreaterThan(50);
  expect(found.filter(({ record }) => record.outcome === 'timeout').length).toBeGreaterThan(150);
});

test('requests are found by text, model and outcome, newest first, and the oldest are forgotten', async () => {
  const { app, gateway } = adminApp({ providers: [scripted('up', answerOf('a'))] });
  for (let i = 0; i < 60; i++) {
    const context = contextOf({ requestId: `req-${i}`, endpoint: i % 2 ? '/v1/messages' : '/v1/chat/completions' });
    await gateway.stream(ask({ model: i % 3 ? 'demo' : 'nobody' }), context).then(
      ({ events }) => drain(events),
      () => {},
    );
  }
  const ids = async (query: string) =>
    (await (await app.request(`/admin/requests?${query}`)).json()).data.map((r: { requestId: string }) => r.requestId);
  expect(await ids('limit=3')).toEqual(['req-59', 'req-58', 'req-57']);
  expect(await ids('outcome=failed&limit=2')).toEqual(['req-57', 'req-54']);
  expect(await ids('q=MESSAGES&model=demo&limit=2')).toEqual(['req-59', 'req-55']);
  expect(await ids('q=req-3&limit=500')).not.toContain('req-3');
  expect(await ids('limit=500')).toHaveLength(50);
});

test('the live board tells over SSE what is under way, and how fast it has been', async () => {
  const clock = steppedClock();
  const { app, live, gateway, active } = adminApp({
    providers: [
      scripted('up', [{ waitMs: 80 }, ...answerOf('a').slice(0, 1), { waitMs: 20 }, ...answerOf('b', 'c')], clock),
    ],
    clock,
  });
  const events = decodeSse((await app.request('/admin/live')).body as unknown as AsyncIterable<Uint8Array>); // Node's web stream is iterable
  expect(await events.next()).toMatchObject({ value: { event: 'history', data: '[]' } });

  const run = await gateway.stream(ask(), contextOf());
  const iterator = run.events[Symbol.asyncIterator]();
  await iterator.next();
  clock.advance(900);
  live.tick();
  const during = JSON.parse((await events.next()).value?.data ?? '');
  expect(during.requests).toMatchObject([
    { requestId: 'req-1', model: 'demo', target: 'up/m', phase: 'writing', tokens: 1 },
  ]);
  while (!(await iterator.next()).done);
  clock.advance(980);
  live.tick();
  const { point, requests, totals } = JSON.parse((await events.next()).value?.data ?? '');
  expect(requests).toEqual([]);
  expect(point).toMatchObject({ inFlight: 0, requestsPerSecond: 1, tokensPerSecond: 2 });
  expect(point.ttftP50).toBeGreaterThan(70);
  expect(point.ttftP50).toBeLessThan(90);
  expect(totals).toEqual({ requests: 1, failed: 0, tokens: 3, cacheHits: 0 });

  active.close();
  live.tick();
  expect((await events.next()).done).toBe(true);
});

test('moving quantiles are right within an eighth, and forget', () => {
  const window = createMovingQuantiles(10);
  for (let i = 1; i <= 1000; i++) window.add(i, 5000);
  const [p50, p95] = window.at([0.5, 0.95], 6000);
  expect(Math.abs((p50 ?? 0) - 500)).toBeLessThan(500 / 8);
  expect(Math.abs((p95 ?? 0) - 950)).toBeLessThan(950 / 8);
  expect(window.at([0.5], 20_000)).toEqual([null]);
});
