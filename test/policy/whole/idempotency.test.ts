import { expect, test } from 'vitest';
import { chatOrEmbedding, gatewayOf, user } from './harness.ts';

const messages = [{ role: 'user', content: 'hi' }];
test.each<[string, object, number]>([
  ['/v1/chat/completions', { messages }, 1],
  ['/v1/chat/completions', { messages, stream: true }, 1],
  ['/v1/chat/completions', { messages, store: true }, 1],
  ['/v1/completions', { prompt: 'hi' }, 1],
  ['/v1/completions', { prompt: ['one', 'two'] }, 2],
  ['/v1/responses', { input: 'hi' }, 1],
  ['/v1/responses', { input: 'hi', stream: true }, 1],
  ['/v1/messages', { messages, max_tokens: 5 }, 1],
  ['/v1/messages', { messages, max_tokens: 5, stream: true }, 1],
  ['/v1/embeddings', { input: 'hi' }, 1],
])(
  'an Idempotency-Key at %s with %j gives the same answer at once, later, and after a restart',
  async (path, more, calls) => {
    const { call, upstream, restart } = await gatewayOf('ledger: {}\n', chatOrEmbedding);
    const send = async (body = more) => {
      const response = await call('POST', path, { model: 'demo', ...body }, { 'idempotency-key': 'k-1' });
      // An item's own id inside a response and the second of its end are made for each reply; the answer's id is not.
      const text = (await response.text()).replace(/"(msg|rs)_\w+"/g, '"item"').replace(/"completed_at":\d+/g, '');
      return [response.status, text];
    };
    const [first, second] = await Promise.all([send(), send()]);
    expect(first[0]).toBe(200);
    expect(second).toEqual(first);
    expect(await send()).toEqual(first);
    await restart();
    expect(await send()).toEqual(first);
    expect(upstream.requests).toHaveLength(calls);
    expect((await send({ ...more, user: 'another' }))[0]).toBe(409);
  },
);

test('a batch that is sent again with its Idempotency-Key is one batch', async () => {
  const { call, gateway } = await gatewayOf('ledger: {}\n');
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set(
    'file',
    new Blob([
      `${JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: { model: 'demo', messages } })}\n`,
    ]),
    'lines.jsonl',
  );
  const upload = await fetch(`${gateway().url}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${user}` },
    body: form,
  });
  const file = (await upload.json()) as { id: string };
  const wish = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
  const create = async (more = {}) => {
    const response = await call('POST', '/v1/batches', { ...wish, ...more }, { 'idempotency-key': 'b-1' });
    return { status: response.status, id: ((await response.json()) as { id?: string }).id };
  };
  const all = await Promise.all([create(), create(), create()]);
  expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  expect(await create()).toEqual(all[0]);
  expect((await create({ metadata: { a: 'b' } })).status).toBe(409);
  const { data } = (await (await call('GET', '/v1/batches')).json()) as { data: unknown[] };
  expect(data).toHaveLength(1);
});
