import fc from 'fast-check';
import { expect, test } from 'vitest';
import { webDigest } from '../../src/core/digest.ts';
import { toGatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { type ChatRequest, textOf } from '../../src/core/request.ts';
import { anonymous } from '../../src/core/run.ts';
import { makeKey } from '../../src/policy/new-key.ts';
import { hardTexts } from './adversarial.ts';
import { events, filtersOf, finish, said, user } from './harness.ts';

const secret = { words: { kind: 'patterns', phrases: ['top secret'], action: 'mask' } };
const inField = (make: (text: string) => CompletionEvent) => [...'it is top secret ok'].map(make);

test.each<[string, (text: string) => CompletionEvent, (choice: never) => unknown]>([
  ['content', (text) => ({ type: 'text-delta', choice: 0, text }), (c: { text: string }) => c.text],
  [
    'reasoning',
    (text) => ({ type: 'reasoning-delta', choice: 0, text }),
    (c: { reasoning: { text: string }[] }) => c.reasoning[0]?.text,
  ],
  ['a refusal', (text) => ({ type: 'refusal-delta', choice: 0, text }), (c: { refusal: string }) => c.refusal],
])('masks in %s, cut anywhere', async (_name, make, read) => {
  const { choice } = await filtersOf(secret).answer([...inField(make), finish]);
  expect(read(choice as never)).toBe('it is [phrase] ok');
});

test('masks in tool-call arguments across JSON escapes', async () => {
  const json = '{"say":"it is top\\u0020\\u0073ecret"}';
  const items: CompletionEvent[] = [
    { type: 'tool-call-start', choice: 0, index: 0, id: 'c1', name: 'f', kind: 'function' },
    ...[...json].map((text): CompletionEvent => ({ type: 'tool-call-delta', choice: 0, index: 0, arguments: text })),
    { type: 'finish', choice: 0, reason: 'tool-calls' },
  ];
  const { choice } = await filtersOf(secret).answer(items);
  expect(choice?.toolCalls[0]?.arguments).toBe('{"say":"it is [phrase]"}');
});

test('clean deltas pass as they came, one for one', async () => {
  const items = [...said('Hello', ' wor', 'ld.'), finish];
  const { seen } = await filtersOf(secret).answer(items);
  expect(seen).toEqual(items);
});

test('each choice and each field is a text of its own', async () => {
  const items: CompletionEvent[] = [
    { type: 'text-delta', choice: 0, text: 'top ' },
    { type: 'text-delta', choice: 1, text: 'secret' },
    { type: 'reasoning-delta', choice: 1, text: 'top ' },
    { type: 'text-delta', choice: 0, text: 'hat' },
    finish,
    { type: 'finish', choice: 1, reason: 'stop' },
  ];
  const { whole } = await filtersOf(secret).answer(items, { ...user('x'), choices: 2 });
  expect(whole.choices.map(({ text }) => text)).toEqual(['top hat', 'secret']);
  expect(whole.choices[1]?.reasoning[0]?.text).toBe('top ');
});

test('block ends the choice with content-filter and the stated message, and lets the upstream go', async () => {
  let closed = false;
  async function* endless() {
    try {
      yield* said('it is top sec');
      for (;;) yield* said('ret and more');
    } finally {
      closed = true;
    }
  }
  const { apply } = filtersOf({
    words: { kind: 'patterns', phrases: ['top secret'], action: 'block', message: 'No secrets.' },
  });
  const filtered = await apply(user('hi'));
  const seen: CompletionEvent[] = [];
  for await (const event of filtered.output(endless())) seen.push(event);
  expect(seen).toEqual([
    { type: 'text-delta', choice: 0, text: 'it is ' },
    { type: 'refusal-delta', choice: 0, text: 'No secrets.' },
    { type: 'finish', choice: 0, reason: 'content-filter', detail: 'No secrets.' },
  ]);
  expect(closed).toBe(true);
});

test.each([
  ['flag', { action: 'flag' }, 'it is top secret', 'flag'],
  ['shadow', { action: 'block', shadow: true }, 'it is top secret', 'would block'],
])('%s changes and delays nothing, and is recorded', async (_name, more, text, action) => {
  const items = [...said('it is top', ' sec', 'ret'), finish];
  const { seen, choice, decisions } = await filtersOf({ words: { ...secret.words, ...more } }).answer(items);
  expect(seen).toEqual(items);
  expect(choice?.text).toBe(text);
  expect(decisions).toEqual([{ stage: 'filters', name: 'words', action, detail: 'output: phrase' }]);
});

test('the preset of secrets knows the keys that this gateway makes', async () => {
  const { secret } = await makeKey({ name: 'ada' }, webDigest());
  const { answer } = filtersOf({ secrets: { kind: 'patterns', preset: 'secrets', action: 'mask' } });
  const { choice } = await answer([...said(`Use ${secret.slice(0, 20)}`, `${secret.slice(20)} here.`), finish]);
  expect(choice?.text).toBe('Use [tidegate-key] here.');
});

test('text that a removal joins to a new match is not sent, also where the answer came as bytes', async () => {
  const { answer } = filtersOf({
    words: { kind: 'patterns', phrases: ['ab'], action: 'replace', replacement: '' },
  });
  const wire = (...texts: string[]): CompletionEvent => ({
    ...{ type: 'wire', bytes: new TextEncoder().encode(texts.join('')) },
    says: [...said(...texts), finish],
  });
  for (const items of [[...said('x a', 'ab', 'b y'), finish], [wire('x aabb y')]]) {
    const { choice, seen } = await answer(items);
    expect(choice?.text).toBe('x ');
    expect(choice?.finishReason).toBe('content-filter');
    expect(seen.filter(({ type }) => type === 'wire')).toEqual([]);
  }
  const clean = wire('x a b y');
  expect((await answer([clean])).seen).toEqual([clean]);
});

test('log-probabilities of removed text go with it, the others stay in order', async () => {
  const token = (text: string, alternative = 'zzz') => ({
    token: text,
    logprob: -1,
    bytes: [...new TextEncoder().encode(text)],
    top: [{ token: alternative, logprob: -2, bytes: null }],
  });
  const pieces = ['a', ' top', ' sec', 'ret', ' end'];
  const items: CompletionEvent[] = pieces.map((text) => ({
    type: 'text-delta',
    choice: 0,
    text,
    logprobs: [token(text, 'top secret')],
  }));
  const { choice, seen } = await filtersOf(secret).answer([...items, finish]);
  expect(choice?.text).toBe('a [phrase] end');
  expect(choice?.logprobs?.map(({ token: text }) => text)).toEqual(['a', ' end']);
  expect(JSON.stringify(seen)).not.toContain('secret');
});

test('log-probabilities outlive several filters, also where text is held back in the middle of a token', async () => {
  const pieces = ['The', ' tide', ' rises', ' twice'];
  const items = pieces.map(
    (text): CompletionEvent => ({
      ...{ type: 'text-delta', choice: 0, text },
      logprobs: [{ token: text, logprob: -1, bytes: null, top: [] }],
    }),
  );
  const { choice } = await filtersOf({
    secrets: { kind: 'patterns', preset: 'secrets', action: 'mask' },
    personal: { kind: 'pii', action: 'mask' },
  }).answer([...items, finish]);
  expect(choice?.text).toBe(pieces.join(''));
  expect(choice?.logprobs?.map(({ token }) => token)).toEqual(pieces);
});

const bytesOf = (text: string) => [...new TextEncoder().encode(text)];
const spelled = (text: string, bytes: number[] | null = bytesOf(text)) => ({
  token: text,
  logprob: -1,
  bytes,
  top: [],
});
const letters = [...'top secret'];
const beside: Readonly<Record<string, readonly CompletionEvent[]>> = {
  'a fingerprint': [{ type: 'start', fingerprint: 'top secret' }, ...said('fine'), finish],
  "a call's id": [
    { type: 'tool-call-start', choice: 0, index: 0, id: 'top secret', name: 'f', kind: 'function' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' },
    finish,
  ],
  'the reason of an end': [...said('fine'), { type: 'finish', choice: 0, reason: 'stop', detail: 'a top secret' }],
  'the text that ended it': [
    ...said('fine'),
    { type: 'finish', choice: 0, reason: 'stop', stopSequence: 'top secret' },
  ],
  'a name inside an annotation': [{ type: 'annotation', choice: 0, annotation: { 'top secret': 1 } }, finish],
  'tokens that are not those of the text': [
    ...letters.map((letter) => ({ type: 'text-delta' as const, choice: 0, text: 'a', logprobs: [spelled(letter)] })),
    finish,
  ],
  'bytes that are not those of the token': [
    { type: 'text-delta', choice: 0, text: 'fine', logprobs: [spelled('fine', bytesOf('top secret'))] },
    finish,
  ],
};
test.each(
  Object.entries(beside).flatMap(([where, items]) => ['mask', 'block'].map((action) => ({ where, items, action }))),
)('$where is part of the answer too, to $action', async ({ items, action }) => {
  const { answer } = filtersOf({ words: { kind: 'patterns', phrases: ['top secret'], action } });
  const seen = JSON.stringify((await answer(items)).seen);
  expect(seen).not.toContain('secret');
  expect(seen).not.toContain(bytesOf('secret').join());
  const tokens = [...seen.matchAll(/"token":"(.)"/g)].map(([, token]) => token).join('');
  expect(tokens).not.toContain('secret');
});

test('annotations are read too', async () => {
  const { choice } = await filtersOf(secret).answer([
    { type: 'annotation', choice: 0, annotation: { type: 'url_citation', url_citation: { title: 'Top Secret!' } } },
    finish,
  ]);
  expect(choice?.annotations).toEqual([{ type: 'url_citation', url_citation: { title: '[phrase]!' } }]);
});

test('a stop filter cuts exactly, case and all', async () => {
  const { choice } = await filtersOf({ end: { kind: 'stop', sequences: ['END.'] } }).answer([
    ...said('one end. two EN', 'D. three'),
    finish,
  ]);
  expect(choice).toMatchObject({ text: 'one end. two ', finishReason: 'stop', stopSequence: 'END.' });
});

test('a length filter counts code points', async () => {
  const { choice } = await filtersOf({ short: { kind: 'length', characters: 5 } }).answer([
    ...said('ab😀', '😀😀😀'),
    finish,
  ]);
  expect(choice).toMatchObject({ text: 'ab😀😀😀', finishReason: 'length' });
});

test('an answer of just the length that is allowed is not cut, and a request of just so many messages passes', async () => {
  const filters = filtersOf({ short: { kind: 'length', characters: 5 }, most: { kind: 'limits', messages: 1 } });
  const { choice, decisions } = await filters.answer([...said('Hello'), finish]);
  expect(choice).toMatchObject({ text: 'Hello', finishReason: 'stop' });
  expect(decisions).toEqual([]);
});

test('a request that is refused says which filter, and not a word of it', async () => {
  const { apply } = filtersOf({ words: { kind: 'patterns', phrases: ['top secret'], action: 'block' } });
  await expect(apply(user('this is top\u200b secret'))).rejects.toMatchObject({
    kind: 'content_blocked',
    message: "The request was refused by the filter 'words'.",
    decisions: [{ stage: 'filters', name: 'words', action: 'block', detail: 'input: phrase' }],
  });
});

test('personal data leaves as placeholders and comes back in the answer’s stream', async () => {
  const { apply } = filtersOf({ pii: { kind: 'pii', action: 'mask', restore: true } });
  const filtered = await apply(user('I am ann@example.org, call +49 30 1234567. Again: ann@example.org'));
  const [message] = filtered.request.messages;
  expect(message && textOf(message.content)).toBe('I am [EMAIL_1], call [PHONE_1]. Again: [EMAIL_1]');
  const items: CompletionEvent[] = [
    ...[...'Hello [email_1], I will ring [PHONE_1] or [PHONE_2]'].map(
      (text): CompletionEvent => ({ type: 'text-delta', choice: 0, text }),
    ),
    { type: 'tool-call-start', choice: 0, index: 0, id: 'c', name: 'mail', kind: 'function' },
    ...[...'{"to":"\\u005bEMAIL_1]"}'].map(
      (text): CompletionEvent => ({ type: 'tool-call-delta', choice: 0, index: 0, arguments: text }),
    ),
    finish,
  ];
  let text = '';
  let args = '';
  for await (const event of filtered.output(
    (async function* () {
      yield* items;
    })(),
  )) {
    if (event.type === 'text-delta') text += event.text;
    if (event.type === 'tool-call-delta') args += event.arguments;
  }
  expect(text).toBe('Hello ann@example.org, I will ring +49 30 1234567 or [PHONE_2]');
  expect(args).toBe('{"to":"ann@example.org"}');
  expect(JSON.stringify(filtered.decisions?.())).not.toContain('ann');
});

test('a request full of addresses gets each of them back', async () => {
  const { apply } = filtersOf({ pii: { kind: 'pii', restore: true } });
  const addresses = Array.from({ length: 5_000 }, (_, n) => `u${n}@example.org`);
  const { output } = await apply(user(addresses.join(' ')));
  let text = '';
  const reply = { type: 'text-delta', choice: 0, text: '[EMAIL_5000] [email_1] [EMAIL_5001]' } as const;
  for await (const event of output(events([reply, finish]))) if (event.type === 'text-delta') text += event.text;
  expect(text).toBe('u4999@example.org u0@example.org [EMAIL_5001]');
});

test('a placeholder that the client wrote itself stays what it is', async () => {
  const { apply } = filtersOf({ pii: { kind: 'pii', restore: true } });
  const filtered = await apply(user('[EMAIL_1] is not bob@example.org'));
  const [message] = filtered.request.messages;
  expect(message && textOf(message.content)).toBe('[EMAIL_1] is not [EMAIL_2]');
});

test('filters are for some callers and not for others', async () => {
  const { apply } = filtersOf({ words: { ...secret.words, action: 'block', except: { teams: ['staff'] } } });
  await expect(apply(user('top secret'))).rejects.toThrow('refused');
  const staff = { ...anonymous, team: 'staff' };
  expect((await apply(user('top secret'), { caller: staff })).request.messages).toHaveLength(1);
});

test('a request whose answer must be read comes back without its bytes; one that only is checked keeps them', async () => {
  const request = { ...user('hi'), wire: { dialect: 'openai-chat' as const, body: {}, headers: {} } };
  expect((await filtersOf(secret).apply(request)).request.wire).toBeUndefined();
  const inputOnly = filtersOf({ words: { ...secret.words, on: 'input', action: 'block' } });
  expect((await inputOnly.apply(request)).request.wire).toBeDefined();
});

test.each(['mask', 'block', 'flag'])(
  'a request goes on at once where nothing is found, and otherwise as beside a filter that waits: %s',
  async (action) => {
    const words = { kind: 'patterns', on: 'input', phrases: ['abba'], expressions: ['c{2,3}'], action };
    const [quick, slow] = [filtersOf({ words }), filtersOf({ words, orders: { kind: 'injection' } })];
    expect(quick.apply(user('all is well'))).not.toBeInstanceOf(Promise);
    const outcome = async ({ apply }: typeof quick, request: ChatRequest) => {
      try {
        const { request: passed, decisions } = await apply(request);
        return { passed, decisions: decisions?.() };
      } catch (error) {
        return toGatewayError(error).message;
      }
    };
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'A', ' ', '\u00ad', '"', '\\'), maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(text, text, async (asked, args) => {
        const call = { id: 'c', kind: 'function', name: 'f', arguments: JSON.stringify({ args }) } as const;
        const request = user(asked);
        const messages = [...request.messages, { role: 'assistant', content: [], toolCalls: [call] } as const];
        const both = [await outcome(quick, { ...request, messages }), await outcome(slow, { ...request, messages })];
        expect(both[0]).toEqual(both[1]);
      }),
      { numRuns: 300, seed: 11 },
    );
  },
);

test('a huge delta and a huge prompt of hard text leave the event loop to others', async () => {
  const hard = hardTexts(300_000)['spaced digits'] ?? '';
  const filters = filtersOf({ pii: { kind: 'pii', action: 'mask' } });
  await filters.answer([...said('warm'), finish], user('up')); // compiles
  const heldShare = async () => {
    let longestMs = 0;
    let last = performance.now();
    const startedMs = last;
    const timer = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last);
      last = performance.now();
    }, 1);
    const { choice } = await filters.answer([...said(hard), finish], user(hard));
    clearInterval(timer);
    longestMs = Math.max(longestMs, performance.now() - last);
    expect(choice?.text).toMatch(/\d/);
    return longestMs / (performance.now() - startedMs);
  };
  // Some 10 ms of 400 on a free processor; a busy one may take it away for longer, but hardly each time.
  expect(Math.min(await heldShare(), await heldShare(), await heldShare())).toBeLessThan(0.25);
});

test.each(['openai-responses', 'anthropic-messages'] as const)(
  'what is held at the end of a block comes before the next block begins in %s',
  async (dialect) => {
    const call = (index: number, id: string): CompletionEvent => ({
      ...{ type: 'tool-call-start', choice: 0, index, id, name: 'f', kind: 'custom' },
    });
    const items: CompletionEvent[] = [
      { type: 'reasoning-delta', choice: 0, text: 'r top' },
      { type: 'text-delta', choice: 0, text: 't top sec' },
      { type: 'reasoning-delta', choice: 0, text: 'again top se' },
      call(0, 'a'),
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: 'a top secr' },
      call(1, 'b'),
      { type: 'tool-call-delta', choice: 0, index: 1, arguments: 'b top ' },
      { type: 'refusal-delta', choice: 0, text: 'no top' },
      { type: 'text-delta', choice: 0, text: 'end' },
      { type: 'finish', choice: 0, reason: 'tool-calls' },
    ];
    const { seen } = await filtersOf(secret).answer(items, { ...user('x'), dialect });
    const order: string[] = [];
    for (const event of seen) {
      const [kind, text] =
        event.type === 'tool-call-delta'
          ? [`call ${event.index}`, event.arguments]
          : 'text' in event
            ? [event.type, event.text]
            : [event.type, ''];
      if (order.at(-1)?.startsWith(`${kind}: `)) order[order.length - 1] += text;
      else order.push(`${kind}: ${text}`);
    }
    expect(order).toEqual([
      'reasoning-delta: r top',
      'text-delta: t top sec',
      'reasoning-delta: again top se',
      'tool-call-start: ',
      'call 0: a top secr',
      'tool-call-start: ',
      'call 1: b top ',
      'refusal-delta: no top',
      'text-delta: end',
      'finish: ',
    ]);
  },
);
