import { expect, test } from 'vitest';
import type { CompletionEvent } from '../../src/core/event.ts';
import { memoryObjects } from '../../src/core/objects.ts';
import { anonymous } from '../../src/core/run.ts';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post, sdkOf } from './post.ts';

const respond = (app: ReturnType<typeof appWith>, body: object = {}) =>
  post(app, '/v1/responses', { model: 'test', input: 'Hi', ...body });
const json = async (response: Response | Promise<Response>): Promise<Answer> => (await response).json();
const lookup = { type: 'function', name: 'lookup', parameters: { type: 'object' }, strict: false };

test('a turn refers to the one before it: its input and output come first, its instructions do not', async () => {
  const provider = scripted(['Hello']);
  const app = appWith(provider);
  const first = await json(respond(app, { instructions: 'Shout.' }));
  const second = await json(respond(app, { input: 'More', previous_response_id: first.id }));
  await respond(app, { input: 'Again', previous_response_id: second.id });
  expect(
    provider.requests[2]?.messages.map((message) => [
      message.role,
      message.content.map((part) => part.type === 'text' && part.text),
    ]),
  ).toEqual([
    ['user', ['Hi']],
    ['assistant', ['Hello']],
    ['user', ['More']],
    ['assistant', ['Hello']],
    ['user', ['Again']],
  ]);
});

test.each([{ stream: false }, { stream: true }])(
  'a turn may name items of any kept response by their ids: $stream',
  async ({ stream }) => {
    const call: CompletionEvent[] = [
      { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', kind: 'function', name: 'lookup' },
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' },
    ];
    const provider = scripted([{ type: 'reasoning-delta', choice: 0, text: 'Hm.' }, 'Wait.', ...call]);
    const app = appWith(provider);
    const first = await respond(app, { tools: [lookup], stream });
    const sent = await first.text();
    const whole = stream ? JSON.parse(/data: (.*)\n\n$/.exec(sent)?.[1] ?? '').response : JSON.parse(sent);
    const references = whole.output.map(({ id }: Answer, at: number) =>
      at === 1 ? { id } : { type: 'item_reference', id },
    );
    const result = { type: 'function_call_output', call_id: 'call_1', output: 'sunny' };
    const input = [{ role: 'user', content: 'Hi' }, ...references, result];
    expect((await respond(app, { tools: [lookup], stream, input })).status).toBe(200);
    expect(provider.requests[1]?.messages).toMatchObject([
      { role: 'user' },
      {
        role: 'assistant',
        reasoning: [{ text: 'Hm.' }],
        content: [{ text: 'Wait.' }],
        toolCalls: [{ id: 'call_1', name: 'lookup', arguments: '{}' }],
      },
      { role: 'tool', toolCallId: 'call_1' },
    ]);
    const gone = await json(respond(app, { input: [{ type: 'item_reference', id: `${references[0].id}9` }] }));
    expect(gone.error).toMatchObject({ param: 'input', message: expect.stringContaining('not found') });
  },
);

test('a conversation collects its turns', async () => {
  const provider = scripted(['Hello']);
  const app = appWith(provider);
  const { id } = await json(
    post(app, '/v1/conversations', { items: [{ role: 'user', content: 'Before' }], metadata: { topic: 'x' } }),
  );
  await respond(app, { conversation: id });
  await (await respond(app, { conversation: { id }, input: 'More', stream: true })).text();
  expect(provider.requests[1]?.messages.map((message) => message.role)).toEqual(['user', 'user', 'assistant', 'user']);
  const items = await json(app.request(`/v1/conversations/${id}/items?order=asc&limit=3`));
  expect(items).toMatchObject({
    object: 'list',
    has_more: true,
    data: [{ role: 'user' }, { role: 'user' }, { role: 'assistant' }],
  });
  const rest = await json(app.request(`/v1/conversations/${id}/items?order=asc&after=${items.last_id}`));
  expect(rest.data.map((item: Answer) => item.role)).toEqual(['user', 'assistant']);
  expect(
    await json(app.request(`/v1/conversations/${id}/items/${items.first_id}`, { method: 'DELETE' })),
  ).toMatchObject({ id });
  expect((await app.request(`/v1/conversations/${id}/items/${items.first_id}`)).status).toBe(404);
  expect(await json(post(app, `/v1/conversations/${id}`, { metadata: null }))).toMatchObject({ metadata: {} });
  const answers = ['a', [{ type: 'output_text', text: 'a' }]].map((content) => ({ role: 'assistant', content }));
  const { data } = await json(post(app, `/v1/conversations/${id}/items`, { items: answers }));
  const part = { type: 'output_text', text: 'a', annotations: [], logprobs: [] };
  expect(data.map(({ content }: Answer) => content)).toEqual([[part], [part]]);
  expect(await json(post(app, `/v1/conversations/${id}`, { metadata: { topic: 'y' } }))).toMatchObject({
    metadata: { topic: 'y' },
  });
  expect(await json(app.request(`/v1/conversations/${id}`, { method: 'DELETE' }))).toEqual({
    id,
    object: 'conversation.deleted',
    deleted: true,
  });
  expect((await app.request(`/v1/conversations/${id}`)).status).toBe(404);
});

test('what is stored can be read, listed and deleted; store false keeps nothing', async () => {
  const app = appWith(scripted(['Hello']));
  const { id } = await json(
    respond(app, {
      input: [
        { role: 'user', content: 'a' },
        { role: 'user', content: 'b' },
      ],
    }),
  );
  const items = await json(app.request(`/v1/responses/${id}/input_items`));
  expect(items.data.map((item: Answer) => item.content[0])).toEqual([
    { type: 'input_text', text: 'b' },
    { type: 'input_text', text: 'a' },
  ]);
  expect(await json(app.request(`/v1/responses/${id}`, { method: 'DELETE' }))).toEqual({
    id,
    object: 'response',
    deleted: true,
  });
  expect((await app.request(`/v1/responses/${id}`)).status).toBe(404);
  const hidden = await json(respond(app, { store: false }));
  expect((await app.request(`/v1/responses/${hidden.id}`)).status).toBe(404);
});

test('turns that are kept are together no larger than a request may be', async () => {
  const app = appWith(scripted(['Hello']), { options: { ...defaultHttpOptions, maxBodyBytes: 3000 } });
  const long = 'a'.repeat(1200);
  const { id } = await json(post(app, '/v1/conversations', {}));
  const add = () => post(app, `/v1/conversations/${id}/items`, { items: [{ role: 'user', content: long }] });
  const added = [await add(), await add(), await add()];
  expect(added.map(({ status }) => status)).toEqual([200, 200, 413]);
  expect((await json(app.request(`/v1/conversations/${id}/items`))).data).toHaveLength(2);
  expect((await respond(app, { conversation: id, input: long })).status).toBe(200);
  const refused = await respond(app, { conversation: id });
  expect(refused.status).toBe(413);
  expect(await refused.json()).toMatchObject({ error: { param: 'conversation', code: 'request_too_large' } });
  let previous: string | undefined;
  const statuses: number[] = [];
  for (let turn = 0; turn < 4; turn++) {
    const response = await respond(app, { input: long, ...(previous ? { previous_response_id: previous } : {}) });
    statuses.push(response.status);
    if (response.ok) previous = (await json(response)).id;
  }
  expect(statuses).toEqual([200, 200, 413, 413]);
});

test('turns of one conversation that end at once, here and in another process, are all in it', async () => {
  const kept = memoryObjects();
  const slow = {
    ...kept,
    async get(...asked: Parameters<typeof kept.get>) {
      const found = await kept.get(...asked);
      await new Promise((resolve) => setTimeout(resolve, 5)); // as a database
      return found;
    },
  };
  const apps = [0, 1].map(() => appWith(scripted(['Hello']), { objects: slow }));
  const [app] = apps;
  if (!app) throw new Error('no app');
  const { id } = await json(post(app, '/v1/conversations', {}));
  const inputs = ['a', 'b', 'c', 'd', 'e', 'f'];
  const turns = inputs.map((input, index) => respond(apps[index % 2] ?? app, { conversation: id, input }));
  const added = post(app, `/v1/conversations/${id}/items`, { items: [{ role: 'user', content: 'g' }] });
  const told = post(app, `/v1/conversations/${id}`, { metadata: { topic: 'y' } });
  for (const response of await Promise.all([...turns, added, told])) expect(response.status).toBe(200);
  const { data } = await json(app.request(`/v1/conversations/${id}/items?limit=100`));
  const said = data.filter(({ role }: Answer) => role === 'user').map(({ content }: Answer) => content[0].text);
  expect(said.sort()).toEqual([...inputs, 'g']);
  expect(data).toHaveLength(2 * inputs.length + 1);
  expect(await json(app.request(`/v1/conversations/${id}`))).toMatchObject({ metadata: { topic: 'y' } });
});

test('a conversation is compacted into its user messages and a summary that the next turn reads', async () => {
  const provider = scripted(['The user greeted; nothing is open.']);
  const app = appWith(provider);
  const first = await json(respond(app, { input: 'Hello there', tools: [lookup] }));
  const compacted = await sdkOf(app).responses.compact({
    model: 'test',
    previous_response_id: first.id,
    input: [{ role: 'user', content: 'And now?' }],
  });
  expect(compacted).toMatchObject({
    id: expect.stringMatching(/^resp_/),
    object: 'response.compaction',
    created_at: expect.any(Number),
    output: [
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello there' }] },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'And now?' }] },
      { type: 'compaction', id: expect.stringMatching(/^cmp_/), encrypted_content: expect.any(String) },
    ],
    usage: { input_tokens: 3, output_tokens: 1, total_tokens: 4, output_tokens_details: { reasoning_tokens: 0 } },
  });
  expect(provider.requests[1]).toMatchObject({ tools: [], toolChoice: 'none' });
  await respond(app, { input: [...compacted.output, { role: 'user', content: 'Go on' }] });
  expect(provider.requests[2]?.messages.map(({ role, content }) => [role, content[0]])).toEqual([
    ['user', { type: 'text', text: 'Hello there' }],
    ['user', { type: 'text', text: 'And now?' }],
    ['developer', { type: 'text', text: expect.stringContaining('The user greeted; nothing is open.') }],
    ['user', { type: 'text', text: 'Go on' }],
  ]);
  const foreign = await respond(app, { input: [{ type: 'compaction', encrypted_content: 'gAAAA' }] });
  expect([foreign.status, foreign.headers.get('x-tidegate-warning')]).toEqual([
    200,
    expect.stringContaining('compaction'),
  ]);
});

test('nobody else sees a stored response', async () => {
  const objects = memoryObjects();
  const as = (id: string) => appWith(scripted(['Hello']), { objects, policy: openPolicy({ ...anonymous, id }) });
  const { id } = await json(respond(as('ann')));
  expect((await as('ann').request(`/v1/responses/${id}`)).status).toBe(200);
  expect((await as('bob').request(`/v1/responses/${id}`)).status).toBe(404);
  expect((await respond(as('bob'), { previous_response_id: id })).status).toBe(404);
});
