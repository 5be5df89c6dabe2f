import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chat } from '../app.ts';
import { json } from '../faulty-upstream.ts';
import type { Answer } from '../http/post.ts';
import { filteredApp, upstream } from './upstream.ts';

type Action = 'mask' | 'block' | 'flag' | 'retry';
/** `slow`: with a filter beside it that only knows events, so that nothing goes on as bytes. */
const appOf = (action: Action, slow = false) => {
  const words = { kind: 'patterns', on: 'output', phrases: ['abba', 'cc'], action };
  return filteredApp({ words, ...(slow && { long: { kind: 'length', characters: 1e9 } }) });
};

const choice = (content: string, index = 0, more: object = {}, rest: object = {}) => ({
  index,
  message: { role: 'assistant', content, refusal: null, annotations: [], ...more },
  logprobs: null,
  finish_reason: 'stop',
  ...rest,
});
const completion = (choices: readonly object[], more: object = {}) => ({
  id: 'chatcmpl-upstream',
  object: 'chat.completion',
  created: 1,
  model: 'm-2026',
  choices,
  usage: { prompt_tokens: 3, completion_tokens: 9, total_tokens: 12 },
  ...more,
});

test('a whole answer that no pattern is in goes on as the very bytes that came, and is asked for as one', async () => {
  const bytes = `${JSON.stringify(completion([choice('ab b\nbac')], { x_timing: 1.50001, x_none: null }), null, 2)}\n`;
  upstream.answer({ ...json({}), body: [bytes] });
  const app = appOf('mask');
  const response = await chat(app);
  expect(await response.text()).toBe(bytes);
  expect(upstream.requests.at(-1)?.json.stream).toBeUndefined();
  const [record] = app.records;
  expect(record).toMatchObject({ upstreamId: 'chatcmpl-upstream', finishReasons: ['stop'], outcome: 'ok' });
  expect(record?.usage).toMatchObject({ promptTokens: 3, completionTokens: 9 });
});

/** Where else words may stand: nothing of it may go on unread. */
const elsewhere: Record<string, object> = {
  'in a field nobody knows': completion([choice('fine')], { note: 'so abba it is' }),
  'in a field of the message nobody knows': completion([choice('fine', 0, { notes: [{ text: 'so abba it is' }] })]),
  'in a field of the choice nobody knows': completion([choice('fine', 0, {}, { notes: ['abba'] })]),
  'in the name of a field': completion([choice('fine')], { scores: { 'so abba it is': 0.5 } }),
  'in thoughts': completion([choice('fine', 0, { reasoning_content: 'so abba it is' })]),
  'in a refusal': completion([choice('', 0, { refusal: 'so abba it is' })]),
  'in escaped arguments of a call': completion([
    choice('', 0, {
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"q":"\\u0061bba"}' } }],
    }),
  ]),
  'over two parts of the content': completion([
    choice('', 0, {
      content: [
        { type: 'text', text: 'so ab' },
        { type: 'text', text: 'ba it is' },
      ],
    }),
  ]),
  'in tokens': completion([
    choice('fine', 0, {}, { logprobs: { content: [{ token: 'abba', logprob: -1, bytes: null, top_logprobs: [] }] } }),
  ]),
  'in the second choice': completion([choice('fine'), choice('so abba it is', 1)]),
  'in a choice without an index': completion([{ ...choice('so abba it is'), index: undefined }]),
  'across pieces of a long text': completion([choice(`${'x'.repeat(2046)}abba${'x'.repeat(3000)}`)]),
};
test.each(Object.entries(elsewhere))('a phrase %s does not pass', async (_where, body) => {
  upstream.answer(json(body));
  const response = await chat(appOf('mask'), { logprobs: true });
  expect(response.status).toBe(200);
  expect(await response.text()).not.toMatch(/abba|\\u0061bba/);
});

test('a phrase with bytes between that are no UTF-8 does not pass with them', async () => {
  const [before = '', after = ''] = JSON.stringify(completion([choice('so ab|ba it is')])).split('|');
  upstream.answer({ ...json({}), body: [Buffer.concat([Buffer.from(before), Buffer.of(0xff), Buffer.from(after)])] });
  const bytes = Buffer.from(await (await chat(appOf('mask'))).arrayBuffer());
  expect(bytes.includes(0xff)).toBe(false);
});

const twice = JSON.stringify(completion([choice('fine')]));
test.each([
  ['text', twice.replace('"content"', '"content":"so abba it is","content"')],
  ['text, its name escaped', twice.replace('"content"', '"c\\u006fntent":"so abba it is" , "content"')],
  ['list', twice.replace('"choices"', `"choices":[${JSON.stringify(choice('a \\" abba'))}],"choices"`)],
])('a %s that stands there twice does not pass with the one that is read', async (_what, body) => {
  upstream.answer({ ...json({}), body: [body] });
  const answer = await (await chat(appOf('mask'))).text();
  expect(answer).toContain('fine');
  expect(answer).not.toContain('abba');
});

const heard = (body: Answer) => ({
  choices: body.choices?.map(({ message, finish_reason, finish_message }: Answer) => ({
    content: message.content ?? '',
    refusal: message.refusal ?? null,
    finish_reason,
    finish_message,
  })),
  usage: body.usage?.completion_tokens,
  error: body.error?.type,
});

describe.each(['mask', 'block', 'flag', 'retry'] as const)('with %s', (action) => {
  test('whatever is in it, a whole answer reads as if it had gone through as events', async () => {
    const [fast, slow] = [appOf(action), appOf(action, true)];
    const letter = fc.constantFrom('a', 'b', 'c', 'A', ' ', '\u00ad', 'é', '"', '\n', '😀');
    // Of a long answer, or several, the slow way gives the beginning out before it can want another one.
    const retries = action === 'retry';
    const piece = fc.oneof(letter, fc.constantFrom('abba', 'cc', 'x'.repeat(retries ? 45 : 2045)));
    const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: retries ? 1 : 3 }), async (texts) => {
        upstream.answer(json(completion(texts.map((content, index) => choice(content, index)))));
        const asked = { n: texts.length };
        const [quick, sure] = [await chat(fast, asked), await chat(slow, asked)];
        expect(quick.status).toBe(sure.status);
        expect(heard(await quick.json())).toEqual(heard(await sure.json()));
        expect(fast.records.at(-1)?.decisions).toEqual(slow.records.at(-1)?.decisions);
        expect(fast.records.at(-1)?.finishReasons).toEqual(slow.records.at(-1)?.finishReasons);
      }),
      { numRuns: 120, seed: 7 },
    );
  });
});
