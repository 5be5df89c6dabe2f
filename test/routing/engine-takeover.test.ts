import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLocalProvider } from '../../providers/local.ts';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { Provider } from '../../src/core/provider.ts';
import type { ChatRequest, Tool } from '../../src/core/request.ts';
import type { Target } from '../../src/core/route.ts';
import { type Collected, createCollector } from '../../src/core/streams.ts';
import { modelPath } from '../engine/model.ts';
import { ask } from '../request.ts';
import { drink, routingOf, send, upstream } from './harness.ts';

const path = await modelPath();
const broken = new GatewayError('upstream_failed', 'The connection was reset.');
const positions = 60;
/** Continuations under way at once: they share the prompt's KV and each step of the engine. */
const together = 10;

const question = (text: string, more: Partial<ChatRequest> = {}): Partial<ChatRequest> => ({
  messages: [{ role: 'user', content: [{ type: 'text', text }] }],
  sampling: { temperature: 0 },
  maxTokens: 160,
  ...more,
});

const forecast = {
  type: 'object',
  properties: {
    place: { type: 'string', minLength: 10, maxLength: 14 },
    advice: { type: 'array', items: { type: 'string', minLength: 12, maxLength: 14 }, minItems: 2, maxItems: 2 },
    metres: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 9 }, minItems: 5, maxItems: 5 },
  },
  required: ['place', 'advice', 'metres'],
  additionalProperties: false,
} as const;
const tool: Tool = {
  kind: 'function',
  name: 'report',
  description: 'Reports a tide.',
  parameters: forecast,
  strict: true,
};

const collected = (events: readonly CompletionEvent[]): Collected => {
  const collector = createCollector();
  for (const event of events) collector.push(event);
  return collector.result();
};

const isDelta = ({ type }: CompletionEvent) => type === 'text-delta' || type === 'tool-call-delta';

/** Everything up to and with the k-th delta, and then the break. */
function upTo(events: readonly CompletionEvent[], k: number): CompletionEvent[] {
  let seen = 0;
  const end = events.findIndex((event) => isDelta(event) && ++seen === k);
  return events.slice(0, end + 1);
}

describe.skipIf(path === null)('the local engine takes over', () => {
  let provider: Provider;
  let local: Target;
  beforeAll(() => {
    provider = createLocalProvider({
      models: { m: { path: path ?? '' } },
      engine: { slots: together, contextTokens: 512 * together, threads: 1 },
    });
    local = { name: 'local/m', provider, model: 'm' };
  });
  afterAll(() => provider.close?.());

  /** A whole answer of the engine, then the same broken after each of its first 60 tokens and finished by the engine. */
  async function atEveryToken(
    request: Partial<ChatRequest>,
    check: (joined: Collected, whole: Collected) => void,
    restOf: (k: number) => Partial<ChatRequest> = () => ({}),
  ) {
    const { events } = await drink(await send(routingOf([local]), request));
    const whole = collected(events);
    const deltas = events.filter(isDelta).length; // a batch of another shape may choose a shorter value
    expect(deltas).toBeGreaterThanOrEqual(positions * 0.8);
    const finishAfter = async (k: number) => {
      const asked = { ...request, ...restOf(k) };
      const given = upTo(events, k);
      const a = upstream('a', [[...given, broken]], { tools: true, jsonSchema: true });
      const { events: joined, error } = await drink(await send(routingOf([a, local]), asked));
      expect(error).toBeUndefined();
      const answer = collected(joined);
      const before = collected(given).choices[0];
      expect(answer.choices[0]?.text.startsWith(before?.text ?? '')).toBe(true);
      const [call] = before?.toolCalls ?? [];
      if (call) expect(answer.choices[0]?.toolCalls[0]?.arguments.startsWith(call.arguments)).toBe(true);
      expect(answer.usage?.parts).toMatchObject([{ target: 'a/m', completionTokens: k }, { target: 'local/m' }]);
      check(answer, whole);
    };
    const waiting = Array.from({ length: Math.min(positions, deltas) }, (_, index) => index + 1);
    const worker = async () => {
      for (let k = waiting.shift(); k !== undefined; k = waiting.shift()) await finishAfter(k);
    };
    await Promise.all(Array.from({ length: together }, worker));
  }

  test('a text, at every token: it joins exactly, as the engine alone would have said it', async () => {
    let same = 0;
    const request = question('Explain in a few sentences why the sea has tides.', { maxTokens: positions + 10 });
    const check = (joined: Collected, whole: Collected) => {
      const text = joined.choices[0]?.text ?? '';
      expect(text).not.toMatch(/\uFFFD/);
      if (whole.choices[0]?.text.startsWith(text)) same += 1;
    };
    await atEveryToken(request, check, (k) => ({ maxTokens: k + 8 }));
    console.log(`text: ${same} of ${positions} continuations equal the unbroken greedy answer`);
    expect(same).toBeGreaterThanOrEqual(positions * 0.8); // in a batch of another shape sums round differently
  }, 300_000);

  test('a JSON value, at every token: it parses and fits its schema every time', async () => {
    const request = question('Report the tide at Brest with advice for sailors, as JSON.', {
      responseFormat: { type: 'json-schema', name: 'forecast', schema: forecast, strict: true },
    });
    await atEveryToken(request, (joined) => {
      const value = JSON.parse(joined.choices[0]?.text ?? '');
      expect(Object.keys(value).sort()).toEqual(['advice', 'metres', 'place']);
      expect([value.advice.length, value.metres.length]).toEqual([2, 5]);
      expect(value.metres.every(Number.isInteger)).toBe(true);
    });
  }, 300_000);

  test('tool-call arguments, at every token: one call, its id unchanged, its arguments fit the schema', async () => {
    const request = question('Report the tide at Brest with advice for sailors.', {
      tools: [tool],
      toolChoice: 'required',
      parallelToolCalls: false,
    });
    await atEveryToken(request, (joined, whole) => {
      const calls = joined.choices[0]?.toolCalls ?? [];
      expect(calls.map(({ id, name }) => [id, name])).toEqual(
        whole.choices[0]?.toolCalls.map(({ id, name }) => [id, name]),
      );
      const value = JSON.parse(calls[0]?.arguments ?? '');
      expect(Object.keys(value).sort()).toEqual(['advice', 'metres', 'place']);
      expect([value.advice.length, value.metres.length]).toEqual([2, 5]);
      expect(joined.choices[0]?.finishReason).toBe('tool-calls');
    });
  }, 300_000);

  test('an answer of the engine itself, killed in the middle, is finished by the engine that follows it', async () => {
    const request = ask(question('Tell a story of a lighthouse.', { maxTokens: 40 }));
    const whole = collected((await drink(await send(routingOf([local]), request))).events);
    const half = upstream('a', [
      [{ type: 'text-delta', choice: 0, text: whole.choices[0]?.text.slice(0, 50) ?? '' }, broken],
    ]);
    const run = await send(routingOf([half, local]), request);
    const joined = collected((await drink(run)).events);
    expect(joined.choices[0]?.text.startsWith(whole.choices[0]?.text.slice(0, 50) ?? '')).toBe(true);
    expect(joined.usage?.parts?.map(({ target }) => target)).toEqual(['a/m', 'local/m']);
  }, 60_000);
});
