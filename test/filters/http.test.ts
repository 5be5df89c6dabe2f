import { describe, expect, test } from 'vitest';
import { type Answer, chunk, done, finishChunk, json, split, sse } from '../faulty-upstream.ts';
import { events, post } from '../http/post.ts';
import { filteredApp, upstream } from './upstream.ts';

/** A phrase of letters that occur nowhere else, so that any of them in an answer is a leak. */
const secret = 'ѮѰѲѴ ѶѸѺ';
const leak = /[\u046a-\u047f]|\\u04[67]/i;
const escaped = secret
  .split('')
  .map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  .join('');

const masking = { words: { kind: 'patterns', phrases: [secret], on: 'output' } };

const asked = (stream: boolean) => ({ model: 'test', stream, messages: [{ role: 'user', content: 'Hi' }] });

/** An answer with the phrase in every field, a character per chunk. */
const everywhere = () => {
  const letters = [...`so ${secret} it is`];
  const call = (more: object) => chunk({ tool_calls: [{ index: 0, ...more }] });
  return (
    sse(
      chunk({ role: 'assistant', content: '' }),
      ...letters.map((text) => chunk({ reasoning_content: text })),
      ...letters.map((content) => chunk({ content })),
      call({ id: 'call_1', type: 'function', function: { name: 'look', arguments: '' } }),
      ...[...`{"q":"so ${escaped} it is"}`].map((text) => call({ function: { arguments: text } })),
      finishChunk('tool_calls'),
    ) + done
  );
};
const whole: Answer = json({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [
    {
      index: 0,
      message: {
        role: 'assistant',
        content: `so ${secret} it is`,
        reasoning_content: `so ${secret} it is`,
        tool_calls: [
          { id: 'call_1', type: 'function', function: { name: 'look', arguments: `{"q":"so ${escaped} it is"}` } },
        ],
      },
      finish_reason: 'tool_calls',
    },
  ],
  usage: { prompt_tokens: 3, completion_tokens: 9, total_tokens: 12 },
});

const tool = { type: 'object', properties: { q: { type: 'string' } } };
const dialects: readonly (readonly [string, string, object])[] = [
  [
    'openai chat',
    '/v1/chat/completions',
    {
      messages: [{ role: 'user', content: 'Hi' }],
      tools: [{ type: 'function', function: { name: 'look', parameters: tool } }],
    },
  ],
  [
    'openai responses',
    '/v1/responses',
    { input: 'Hi', tools: [{ type: 'function', name: 'look', parameters: tool, strict: false }] },
  ],
  [
    'anthropic messages',
    '/v1/messages',
    { max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }], tools: [{ name: 'look', input_schema: tool }] },
  ],
  [
    'ollama chat',
    '/api/chat',
    {
      messages: [{ role: 'user', content: 'Hi' }],
      tools: [{ type: 'function', function: { name: 'look', parameters: tool } }],
    },
  ],
];

describe.each(dialects)('%s', (_name, path, body) => {
  test.each([
    ['a stream', true, false],
    ['a stream, cached', true, true],
    ['a whole answer', false, false],
    ['a whole answer, cached', false, true],
  ])('%s holds no byte of the phrase, in any field, cut at each byte', async (_how, stream, cached) => {
    const app = filteredApp(masking, cached);
    upstream.answer(({ json: asked }) => (asked.stream ? { body: split(everywhere(), 1) } : whole));
    for (let time = 0; time < (cached ? 2 : 1); time++) {
      const response = await post(app, path, { model: 'test', stream, temperature: 0, ...body });
      expect(response.status).toBe(200);
      if (cached) expect(response.headers.get('x-tidegate-cache')).toBe(time === 0 ? 'miss' : 'hit');
      const text = await response.text();
      expect(text).not.toMatch(leak);
      expect(text.split('[phrase]').length - 1).toBeGreaterThanOrEqual(2);
    }
    expect(app.records[0]?.decisions).toContainEqual({
      stage: 'filters',
      name: 'words',
      action: 'mask',
      detail: expect.stringMatching(/^output: phrase ×\d$/),
    });
  });
});

test('raw completions, streaming or not', async () => {
  const text = sse(
    ...[...`so ${secret} it is`].map((piece) => ({
      id: 'c',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [{ index: 0, text: piece, finish_reason: null }],
    })),
    {
      id: 'c',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [{ index: 0, text: '', finish_reason: 'stop' }],
    },
  );
  upstream.answer({ body: split(text + done, 1) });
  const response = await post(filteredApp(masking), '/v1/completions', { model: 'test', prompt: 'Hi', stream: true });
  const body = await response.text();
  expect(body).not.toMatch(leak);
  expect(body).toContain('[phrase]');
});

test('wherever the upstream’s bytes are cut in two, the same is sent', async () => {
  const bytes = Buffer.from(
    sse(chunk({ content: `so ${secret.slice(0, 3)}` }), chunk({ content: `${secret.slice(3)} it is` }), finishChunk()) +
      done,
  );
  const app = filteredApp(masking);
  for (let cut = 1; cut < bytes.length; cut += 3) {
    upstream.answer({ body: [bytes.subarray(0, cut), { wait: 1 }, bytes.subarray(cut)] });
    const response = await post(app, '/v1/chat/completions', {
      model: 'test',
      stream: true,
      messages: [{ role: 'user', content: 'Hi' }],
    });
    const text = await response.text();
    expect(text).not.toMatch(leak);
    const said = [...text.matchAll(/"content":"([^"]*)"/g)].map((match) => match[1]).join('');
    expect(said).toBe('so [phrase] it is');
  }
});

test('an upstream that dies inside a live prefix leaks nothing of it', async () => {
  upstream.answer({ body: [sse(chunk({ content: `so ${secret.slice(0, 4)}` })), { wait: 5 }, 'reset'] });
  const response = await post(filteredApp(masking), '/v1/chat/completions', {
    model: 'test',
    stream: true,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  const text = await response.text();
  expect(text).not.toMatch(leak);
  expect(text).toContain('"error"');
  expect(text).not.toContain('[DONE]');
});

const refusals: Readonly<Record<string, Answer>> = {
  'refuses the request': json({ error: { message: `no ${secret}`, type: secret, param: secret, code: secret } }, 400),
  'fails at once': { body: [sse({ error: { message: `no ${secret}`, code: 500 } })] },
  'fails in the middle': { body: [sse(chunk({ content: 'so' }), { error: { message: `no ${secret}`, code: 500 } })] },
};
test.each(Object.entries(refusals))('an upstream that %s does not say the phrase with it', async (_how, answer) => {
  upstream.answer(answer);
  for (const action of ['mask', 'block']) {
    const app = filteredApp({ words: { ...masking.words, action } });
    const text = await (await post(app, '/v1/chat/completions', asked(true))).text();
    expect(text).toContain('"error"');
    expect(text).not.toMatch(leak);
  }
});

test('block is finish reason content_filter, and the upstream is let go', async () => {
  upstream.answer({ body: [sse(chunk({ content: 'so ' }), chunk({ content: secret })), 'stall'] });
  const app = filteredApp({ words: { ...masking.words, action: 'block', message: 'Not allowed.' } });
  const response = await post(app, '/v1/chat/completions', {
    model: 'test',
    stream: true,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  const text = await response.text();
  expect(text).not.toMatch(leak);
  expect(text).toContain('"finish_reason":"content_filter"');
  expect(text).toContain('Not allowed.');
  expect(text).toContain('[DONE]');
  await upstream.requests.at(-1)?.closed;
});

test.each([
  ['patterns', { ...masking.words, action: 'block' }],
  ['patterns, early in a long text', { ...masking.words, phrases: ['so'], action: 'block' }],
  ['length', { kind: 'length', characters: 2 }],
  ['a reader', { kind: 'json', action: 'block' }],
])('an answer that was there as a whole when %s ended it is paid for as a whole, and says so', async (_, filter) => {
  upstream.answer({ ...whole, body: [String(whole.body?.[0]).replace('it is', 'it is '.repeat(2000))] });
  const app = filteredApp({ ending: filter });
  const response = await post(app, '/v1/chat/completions', asked(false));
  expect(await response.json()).toMatchObject({ usage: { prompt_tokens: 3, completion_tokens: 9 } });
  expect(app.records[0]).toMatchObject({ usage: { promptTokens: 3, completionTokens: 9 } });
});

test('a blocked request is OpenAI’s and Anthropic’s 400, and never reaches the upstream', async () => {
  const app = filteredApp({ words: { kind: 'patterns', phrases: [secret], action: 'block', on: 'input' } });
  const before = upstream.requests.length;
  for (const path of ['/v1/chat/completions', '/v1/messages']) {
    const response = await post(app, path, {
      model: 'test',
      max_tokens: 5,
      messages: [{ role: 'user', content: secret }],
    });
    expect(response.status).toBe(400);
    expect(await response.text()).not.toMatch(leak);
  }
  expect(upstream.requests.length).toBe(before);
  expect(app.records[0]).toMatchObject({ outcome: 'content_blocked', decisions: [{ name: 'words', action: 'block' }] });
  expect(JSON.stringify(app.records)).not.toMatch(leak);
});

test('personal data never reaches the upstream, the record or the cache’s key, and comes back to each caller', async () => {
  const app = filteredApp({ pii: { kind: 'pii', restore: true } }, true);
  upstream.answer(({ json: asked }) => {
    const text = `Dear ${/\[EMAIL_\d\]/.exec(JSON.stringify(asked))?.[0]}!`;
    return { body: split(sse(...[...text].map((content) => chunk({ content })), finishChunk()) + done, 3) };
  });
  for (const [email, cache] of [
    ['ann@example.org', 'miss'],
    ['bob@example.org', 'hit'],
  ]) {
    const response = await post(app, '/v1/chat/completions', {
      model: 'test',
      stream: true,
      temperature: 0,
      user: email,
      metadata: { mail: email },
      messages: [{ role: 'user', content: `I am ${email}` }],
    });
    expect(response.headers.get('x-tidegate-cache')).toBe(cache);
    const said = [...(await response.text()).matchAll(/"content":"([^"]*)"/g)].map((match) => match[1]).join('');
    expect(said).toBe(`Dear ${email}!`);
    expect(upstream.requests.at(-1)?.text).not.toContain('@example.org');
  }
  expect(app.records).toHaveLength(2);
  expect(JSON.stringify(app.records)).not.toContain('@example.org');
});

test('what no filter can read of a request is left out and named, not sent on unread', async () => {
  upstream.answer(
    json({
      id: 'm',
      type: 'message',
      role: 'assistant',
      content: [{ type: 'text', text: 'ok' }],
      stop_reason: 'end_turn',
    }),
  );
  const app = filteredApp({ words: { kind: 'patterns', phrases: [secret], on: 'input' } }, false, 'anthropic');
  const found = { type: 'search_result', source: 's', title: 't', content: [{ type: 'text', text: `so ${secret}` }] };
  const content = [{ type: 'text', text: 'What is it?' }, found, { type: 'riddle', riddle: `so ${secret}` }];
  const body = { model: 'test', max_tokens: 9, messages: [{ role: 'user', content }] };
  const response = await post(app, '/v1/messages', body);
  expect([response.status, response.headers.get('x-tidegate-warning')]).toEqual([200, "ignored: block type 'riddle'"]);
  expect(JSON.stringify(upstream.requests.at(-1)?.json)).not.toMatch(leak);
});

test('a response that fails while all its text is held back has no error before it has begun', async () => {
  upstream.answer({ body: [sse(chunk({ role: 'assistant', content: '' }), chunk({ content: secret.slice(0, 2) }))] });
  const response = await post(filteredApp(masking), '/v1/responses', { model: 'test', input: 'Hi', stream: true });
  const told = (await events(response)).map(({ type, response: one }) => [type, one?.error?.code ?? null]);
  expect(told[0]).toEqual(['response.created', null]);
  expect(told.at(-1)).toEqual(['response.failed', 'server_error']);
});
