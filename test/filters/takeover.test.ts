import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { type AssistantMessage, type ChatRequest, textOf } from '../../src/core/request.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith } from '../app.ts';
import { post } from '../http/post.ts';
import { rules, text, upstream, usage } from '../routing/harness.ts';
import { scripted } from '../scripted.ts';

/** Breaks after `k` events of a whole answer; the next one goes on from wherever the last message stops. */
function appBreaking(filters: object, whole: readonly string[], k: number, args = '') {
  const gone = new GatewayError('upstream_failed', 'Gone.');
  const characters = whole.map((one) => [...one]);
  const longest = Math.max(...characters.map(({ length }) => length));
  const events: CompletionEvent[] = [];
  for (let at = 0; at < longest; at++)
    for (const [choice, one] of characters.entries()) {
      const character = one[at];
      if (character !== undefined) events.push(text(character, choice));
    }
  if (args !== '')
    events.push(
      { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'look', kind: 'function' },
      ...[...args].map((piece) => ({ type: 'tool-call-delta', choice: 0, index: 0, arguments: piece }) as const),
    );
  const goesOn = (request: ChatRequest) => {
    const last = request.messages.at(-1);
    const begun: AssistantMessage | undefined =
      request.continueFinalMessage && last?.role === 'assistant' ? last : undefined;
    const said = textOf(begun?.content ?? []);
    const answer = whole.find((one) => one.startsWith(said)) ?? '';
    const open = begun?.toolCalls.at(-1);
    const rest = args.slice(open?.arguments.length ?? 0);
    return [
      ...[...answer.slice(said.length)].map((character) => text(character)),
      ...(args === '' || open
        ? []
        : [{ type: 'tool-call-start', choice: 0, index: 0, id: 'call_2', name: 'look', kind: 'function' } as const]),
      ...(rest === '' ? [] : [{ type: 'tool-call-delta', choice: 0, index: 0, arguments: rest } as const]),
      { type: 'finish', choice: 0, reason: 'stop' } as const,
      usage(9, 3),
    ];
  };
  const able = {
    prefill: true,
    tools: true,
    choices: true,
    constrainedPrefill: true,
    jsonObject: true,
    jsonSchema: true,
  };
  const first = upstream('broken', [[...events.slice(0, k), gone]], able);
  const second = upstream('healthy', [goesOn], able);
  const targets = [first, second];
  const model = { name: 'test', filters: Object.keys(filters), targets, rules: rules(targets) };
  const app = appWith(scripted([]), {
    routing: createRouting([model]),
    filters: createFilters(filtersSchema().parse(filters)),
  });
  return { app, first, second, events: events.length };
}

const places = (length: number) => Array.from({ length: length + 1 }, (_, k) => k);
/** Of letters that occur nowhere else: any of them in an answer is a leak. */
const phrase = 'ѮѰѲѴ ѶѸѺ';
const args = `{"q":"a ${phrase}"}`;
const length = `so ${phrase} it is`.length + 1 + args.length;

describe('an answer that changes hands under a filter', () => {
  const words = { words: { kind: 'patterns', phrases: [phrase], on: 'output' } };
  const tool = { name: 'look', parameters: { type: 'object' } };
  test.each([
    {
      path: '/v1/chat/completions',
      body: { messages: [{ role: 'user', content: 'Hi' }], tools: [{ type: 'function', function: tool }] },
    },
    { path: '/v1/responses', body: { input: 'Hi', tools: [{ type: 'function', ...tool }] } },
    {
      path: '/v1/messages',
      body: {
        max_tokens: 999,
        messages: [{ role: 'user', content: 'Hi' }],
        tools: [{ name: 'look', input_schema: tool.parameters }],
      },
    },
    { path: '/api/chat', body: { messages: [{ role: 'user', content: 'Hi' }], tools: [] } },
  ])('has no byte of a match, wherever it breaks, at $path', async ({ path, body }) => {
    for (const k of places(length))
      for (const stream of [true, false]) {
        const { app } = appBreaking(words, [`so ${phrase} it is`], k, args);
        const answer = await (await post(app, path, { model: 'test', stream, ...body })).text();
        expect(answer).not.toMatch(/[\u046a-\u047f]|\\u04[67]/i);
        expect(answer.match(/\[phrase\]/g)?.length).toBeGreaterThanOrEqual(2);
        expect(app.records).toMatchObject([{ outcome: 'ok' }]);
      }
  });

  test('is ended by it where the match reaches over the break', async () => {
    for (const k of places(length)) {
      const block = { words: { ...words.words, action: 'block' } };
      const { app } = appBreaking(block, [`so ${phrase} it is`], k);
      const body = { model: 'test', messages: [{ role: 'user', content: 'Hi' }] };
      const { choices } = await (await post(app, '/v1/chat/completions', body)).json();
      expect(choices).toMatchObject([{ message: { content: 'so ' }, finish_reason: 'content_filter' }]);
    }
  });

  test('is held, taken over and then repaired as JSON', async () => {
    const said = 'Sure: {"q": [1, 2,]} there';
    for (const k of places(said.length)) {
      const { app } = appBreaking({ shape: { kind: 'json', action: 'repair' } }, [said], k);
      const body = { model: 'test', messages: [{ role: 'user', content: 'Hi' }] };
      const { choices } = await (await post(app, '/v1/chat/completions', body)).json();
      expect(JSON.parse(choices[0].message.content)).toEqual({ q: [1, 2] });
    }
  });

  test('gives each of several choices the caller’s own data back, and shows it to no target', async () => {
    const pii = { pii: { kind: 'pii', restore: true } };
    const whole = ['write to [EMAIL_1] now', 'or else [EMAIL_2], [EMAIL_1]'];
    const content = 'mail ann@example.org and bob@example.com';
    for (const k of places(whole.join('').length).slice(4)) {
      const { app, first, second } = appBreaking(pii, whole, k);
      const body = { model: 'test', n: 2, messages: [{ role: 'user', content }] };
      const { choices } = await (await post(app, '/v1/chat/completions', body)).json();
      expect(choices.map(({ message }: { message: { content: string } }) => message.content)).toEqual([
        'write to ann@example.org now',
        'or else bob@example.com, ann@example.org',
      ]);
      expect(JSON.stringify([...first.requests, ...second.requests])).not.toContain('example');
    }
  });
});
