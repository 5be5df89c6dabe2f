import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProvider } from '../../providers/registry.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';
import { appWith } from '../app.ts';
import { type FaultyUpstream, faultyUpstream, json, openaiServer } from '../faulty-upstream.ts';
import { post } from '../http/post.ts';
import { scripted } from '../scripted.ts';

const transport = createPooledTransport();
let upstream: FaultyUpstream;
let hook: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
  hook = await faultyUpstream();
});
afterAll(async () => {
  await upstream.close();
  await hook.close();
  await transport.close?.();
});

const messages = [{ role: 'user', content: 'Hi' }];
const dialects = {
  'openai chat': ['/v1/chat/completions', { messages }],
  'openai completions': ['/v1/completions', { prompt: 'Hi' }],
  'openai responses': ['/v1/responses', { input: 'Hi' }],
  'anthropic messages': ['/v1/messages', { max_tokens: 100, messages }],
  'ollama chat': ['/api/chat', { messages }],
} as const;

const german = ['Das ist nicht die Sprache, ', 'in der ich mit dir sprechen soll, ', 'und das weißt du auch.'];
/** What the upstream says, under which filter, and what of it the client must not and must see. */
const cases: Record<
  string,
  { filter: object; says: readonly string[]; hides?: RegExp; shows?: RegExp; decided: RegExp }
> = {
  'another language is blocked': {
    filter: { kind: 'language', allow: ['en'], characters: 40 },
    says: german,
    hides: /Sprache/,
    decided: /block output: language de/,
  },
  'another language in the shadow is only recorded': {
    filter: { kind: 'language', allow: ['en'], characters: 40, shadow: true },
    says: german,
    shows: /Sprache/,
    decided: /flag output: would block, language de/,
  },
  'a long answer is cut': {
    filter: { kind: 'length', characters: 12 },
    says: ['one two ', 'three four', ' five'],
    shows: /one two/,
    hides: /four/,
    decided: /length output/,
  },
  'a long answer in the shadow is only recorded': {
    filter: { kind: 'length', characters: 12, shadow: true },
    says: ['one two ', 'three four', ' five'],
    shows: /four/,
    decided: /would cut output/,
  },
  'a stop text ends the answer': {
    filter: { kind: 'stop', sequences: ['END'] },
    says: ['before E', 'ND after'],
    shows: /before/,
    hides: /END|after/,
    decided: /stop output/,
  },
  'a webhook that blocks': {
    filter: { kind: 'webhook', url: 'HOOK/block', on: 'output', message: 'Not here.' },
    says: ['some', 'thing'],
    hides: /thing/,
    decided: /block output: policy/,
  },
  'a webhook that replaces': {
    filter: { kind: 'webhook', url: 'HOOK/replace', on: 'output' },
    says: ['some', 'thing'],
    shows: /other words/,
    hides: /thing/,
    decided: /replace output/,
  },
  'a webhook that is silent, closed': {
    filter: { kind: 'webhook', url: 'HOOK/stall', on: 'output', timeoutMs: 30 },
    says: ['some', 'thing'],
    hides: /thing/,
    decided: /block output: no verdict \(timeout\)/,
  },
  'a webhook that is silent, open': {
    filter: { kind: 'webhook', url: 'HOOK/stall', on: 'output', timeoutMs: 30, onError: 'open' },
    says: ['some', 'thing'],
    shows: /thing/,
    decided: /flag output: no verdict \(timeout\), passed/,
  },
  'a webhook that gives another number of texts than it was asked about': {
    filter: { kind: 'webhook', url: 'HOOK/miscounts', on: 'output' },
    says: ['some', 'thing'],
    hides: /thing|words/,
    decided: /block output: no verdict \(upstream_failed\)/,
  },
  'a webhook whose answer is without end': {
    filter: { kind: 'webhook', url: 'HOOK/floods', on: 'output', timeoutMs: 20_000 },
    says: ['some', 'thing'],
    hides: /thing/,
    decided: /block output: no verdict \(upstream_failed\)/,
  },
  'a webhook in the shadow changes nothing': {
    filter: { kind: 'webhook', url: 'HOOK/block', on: 'output', shadow: true },
    says: ['some', 'thing'],
    shows: /thing/,
    decided: /flag output: would block/,
  },
};

const appOf = (filter: object) => {
  const config = JSON.parse(JSON.stringify({ it: filter }).replace('HOOK', hook.url));
  const provider = createProvider('up', { type: 'openai-compatible', baseUrl: upstream.baseUrl }, { transport });
  const routing = createRouting([
    { name: 'test', filters: ['it'], targets: [{ name: 'up/m', provider, model: 'm' }] },
    { name: 'free', filters: [], targets: [{ name: 'up/m', provider, model: 'm' }] },
  ]);
  return appWith(provider, { routing, filters: createFilters(filtersSchema().parse(config), { transport }) });
};
const answersOfHook = () =>
  hook.answer(({ path }) => {
    if (path === '/stall') return { body: [{ wait: 300 }, '{}'] };
    if (path === '/floods') return { body: [{ repeat: ' '.repeat(1 << 20) }] };
    if (path === '/miscounts') return json({ action: 'replace', texts: ['other words', 'and more words'] });
    if (path === '/replace') return json({ action: 'replace', texts: ['other words'] });
    return json({ action: 'block', reason: 'policy' });
  });
/** The answer's text, pieces joined, whatever the dialect. */
const spokenIn = (body: string): string =>
  [...body.matchAll(/"(?:content|text|delta|response)":"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]).join('');

describe.each(Object.entries(cases))('%s', (_name, { filter, says, hides, shows, decided }) => {
  test.each(Object.entries(dialects))('in %s, streaming and whole', async (dialect, [path, body]) => {
    if (dialect === 'openai completions') {
      // The upstream answers chats only: raw completions come from a scripted provider.
      const provider = scripted(says, { capabilities: { completions: true } });
      const config = JSON.parse(JSON.stringify({ it: filter }).replace('HOOK', hook.url));
      const routing = createRouting([
        { name: 'test', filters: ['it'], targets: [{ name: 's/m', provider, model: 'm' }] },
      ]);
      await check(appWith(provider, { routing, filters: createFilters(filtersSchema().parse(config), { transport }) }));
      return;
    }
    upstream.answer(openaiServer([...says]));
    await check(appOf(filter));

    async function check(app: ReturnType<typeof appWith>) {
      answersOfHook();
      for (const stream of [true, false]) {
        const response = await post(app, path, { model: 'test', stream, ...body });
        expect(response.status).toBe(200);
        const text = spokenIn(await response.text());
        if (hides) expect(text).not.toMatch(hides);
        if (shows) expect(text).toMatch(shows);
        const decisions = app.records.at(-1)?.decisions.map(({ action, detail }) => `${action} ${detail ?? ''}`);
        expect(decisions?.some((line) => decided.test(line))).toBe(true);
      }
    }
  });
});

test('a filter of one route or of some callers is not there for others', async () => {
  upstream.answer(openaiServer(['before E', 'ND after']));
  const filter = { kind: 'stop', sequences: ['END'] };
  const ask = async (app: ReturnType<typeof appWith>, model: string) =>
    spokenIn(await (await post(app, '/v1/chat/completions', { model, messages })).text());
  expect(await ask(appOf(filter), 'test')).not.toContain('after');
  expect(await ask(appOf(filter), 'free')).toContain('after');
  expect(await ask(appOf({ ...filter, for: { callers: ['somebody else'] } }), 'test')).toContain('after');
  expect(await ask(appOf({ ...filter, except: { callers: ['anonymous'] } }), 'test')).toContain('after');
  expect(await ask(appOf({ ...filter, for: { callers: ['anonymous'] } }), 'test')).not.toContain('after');
});

const unsure = (text: string, probability: number) =>
  scripted(
    [
      {
        ...{ type: 'text-delta', choice: 0, text },
        logprobs: [{ token: text, logprob: Math.log(probability), bytes: null, top: [] }],
      },
    ],
    { name: text },
  );
test.each([
  ['retry', {}, /certain/, /retry output: probability 0\.20/],
  ['flag', {}, /guess/, /flag output: probability 0\.20/],
  ['default', { default: 'I do not know.' }, /I do not know/, /replace output: probability 0\.20/],
  ['retry', { shadow: true }, /guess/, /flag output: would retry/],
])('an unsure answer: %s %j', async (action, more, shows, decided) => {
  for (const [path, body] of Object.values(dialects)) {
    if (path === '/v1/completions') continue;
    for (const stream of [true, false]) {
      const [first, second] = [unsure('guess', 0.2), unsure('certain', 0.9)];
      const config = filtersSchema().parse({ sure: { kind: 'confidence', threshold: 0.5, action, ...more } });
      const routing = createRouting([
        {
          name: 'test',
          filters: ['sure'],
          targets: [
            { name: 'a/m', provider: first, model: 'm' },
            { name: 'b/m', provider: second, model: 'm' },
          ],
        },
      ]);
      const app = appWith(first, { routing, filters: createFilters(config) });
      const text = spokenIn(await (await post(app, path, { model: 'test', stream, ...body })).text());
      expect(text).toMatch(shows);
      const decisions = app.records[0]?.decisions.map(({ action: did, detail }) => `${did} ${detail ?? ''}`);
      expect(decisions?.some((line) => decided.test(line))).toBe(true);
    }
  }
});
