import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream, sse } from '../../faulty-upstream.ts';
import { finish, text, upstream } from '../harness.ts';
import { appOver, call, dataOf, post, targetOver, whole } from './harness.ts';

let broken: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
});
afterAll(() => broken.close());

const chunk = (delta: object, finish_reason: string | null = null, more: object = {}) =>
  sse({
    id: 'up',
    object: 'chat.completion.chunk',
    created: 5,
    model: 'up',
    choices: [{ index: 0, delta, finish_reason }],
    ...more,
  });
const asked = { messages: [{ role: 'user', content: 'hi' }] };

test('a chat stream that broke in its thoughts is answered by the next one, under its own id', async () => {
  broken.answer({ body: [chunk({ role: 'assistant', reasoning_content: 'hm' }), 'reset'] });
  const body = await (await post(appOver(broken, 'vllm'), '/v1/chat/completions', asked)).text();
  const chunks = dataOf(body);
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(whole);
  expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`))).toEqual(new Set(['up 5']));
  expect(body.trimEnd().endsWith('data: [DONE]')).toBe(true);
});

test('a legacy completion goes on under its own id', async () => {
  const piece = (said: string) =>
    sse({
      id: 'cmpl-up',
      object: 'text_completion',
      created: 5,
      model: 'up',
      choices: [{ index: 0, text: said, logprobs: null, finish_reason: null }],
    });
  broken.answer({ body: [piece('Hello'), piece(' world'), 'reset'] });
  const goesOn = upstream(
    'healthy',
    [({ prompt }) => [text(whole.slice(String(prompt?.text).length - 'Say: '.length)), finish()]],
    { prefill: true, tools: true, completions: true },
  );
  const body = await (await post(appOver(broken, 'vllm', goesOn), '/v1/completions', { prompt: 'Say: ' })).text();
  const chunks = dataOf(body);
  expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(whole);
  expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`))).toEqual(new Set(['cmpl-up 5']));
  expect(body.trimEnd().endsWith('data: [DONE]')).toBe(true);
});

test('arguments that the next upstream goes on with, without a name, belong to the call that was cut', async () => {
  const args = (text: string, more: object = {}) =>
    chunk({
      tool_calls: [{ index: 0, ...more, function: { ...('id' in more && { name: call.name }), arguments: text } }],
    });
  const next = await faultyUpstream();
  broken.answer({ body: [args(call.args.slice(0, 9), { id: call.id, type: 'function' }), 'reset'] });
  next.answer({ body: [args(call.args.slice(9, 14)), args(call.args.slice(14)), chunk({}, 'tool_calls')] });
  const app = appOver(broken, 'vllm', targetOver(next, 'vllm', 'next'));
  const body = await (await post(app, '/v1/chat/completions', asked)).text();
  const choices = dataOf(body).flatMap(({ choices }) => choices);
  const calls = choices.flatMap(({ delta }) => delta.tool_calls ?? []);
  expect(calls.map((each) => each.function.arguments).join('')).toBe(call.args);
  expect(calls.flatMap(({ id }) => id ?? [])).toEqual([call.id]);
  expect(choices.at(-1)?.finish_reason).toBe('tool_calls');
  await next.close();
});

const counts = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 };
const said = [chunk({ role: 'assistant', content: 'Hello' }), chunk({ content: ' world' })];
const counted = sse({ id: 'up', object: 'chat.completion.chunk', created: 5, model: 'up', choices: [], usage: counts });

test.each([
  { name: 'after its usage chunk', body: [...said, chunk({}, 'stop'), counted, 'reset'] },
  { name: 'after its usage chunk, by an early end', body: [...said, chunk({}, 'stop'), counted, 'cut'] },
  { name: 'after a finish that tells the usage too', body: [...said, chunk({}, 'stop', { usage: counts }), 'reset'] },
] as const)('a chat stream that broke $name is whole: its own usage once, and the end', async ({ body }) => {
  for (const includeUsage of [true, false]) {
    broken.answer({ body });
    const app = appOver(broken, 'vllm');
    const wish = includeUsage ? { stream_options: { include_usage: true } } : {};
    const answer = await (await post(app, '/v1/chat/completions', { ...asked, ...wish })).text();
    const chunks = dataOf(answer);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('Hello world');
    const told = chunks.flatMap(({ usage }) => usage ?? []);
    if (includeUsage || !body.includes(counted)) expect(told).toEqual([counts]);
    else expect(told).toEqual([]);
    expect(answer.match(/\[DONE\]/g)).toHaveLength(1);
    expect(app.records).toMatchObject([{ outcome: 'ok', usage: { promptTokens: 7, completionTokens: 2 } }]);
    expect(app.records[0]?.usage?.estimated).toBeUndefined();
  }
});

test('a chat stream that broke after its finish without a usage gets one, estimated', async () => {
  broken.answer({ body: [...said, chunk({}, 'stop'), 'reset'] });
  const wish = { ...asked, stream_options: { include_usage: true } };
  const answer = await (await post(appOver(broken, 'vllm'), '/v1/chat/completions', wish)).text();
  expect(dataOf(answer).flatMap(({ usage }) => usage ?? [])).toMatchObject([{ completion_tokens: 2 }]);
  expect(answer.trimEnd().endsWith('data: [DONE]')).toBe(true);
});
