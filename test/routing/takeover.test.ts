import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent, Usage } from '../../src/core/event.ts';
import { type AssistantMessage, type ChatRequest, textOf } from '../../src/core/request.ts';
import { createCollector } from '../../src/core/streams.ts';
import { defaultTakeover } from '../../src/routing/model.ts';
import { ask, contextOf } from '../request.ts';
import { drink, finish, routingOf, type Step, says, send, text, textsOf, upstream, usage } from './harness.ts';

const reset = new GatewayError('upstream_failed', 'The connection was reset.');
const whole = 'The moon pulls the water, so the tide comes in twice a day.'.match(/\s*\S+/g) ?? [];
const able = { prefill: true, tools: true };

/** A model that knows one answer and goes on from wherever the request's last message stops. */
const knows = (answer: readonly string[], name = 'b') => upstream(name, [(request) => goingOn(answer, request)], able);

function goingOn(answer: readonly string[], request: ChatRequest): Step[] {
  const begun = begunIn(request)?.content ?? [];
  const rest = answer.join('').slice(textOf(begun).length);
  return [text(rest), finish(), usage(20, 3)];
}

const begunIn = (request: ChatRequest): AssistantMessage | undefined => {
  const last = request.messages.at(-1);
  return request.continueFinalMessage && last?.role === 'assistant' ? last : undefined;
};

const usageOf = (events: readonly CompletionEvent[]): Usage | undefined =>
  events.flatMap((event) => (event.type === 'usage' ? [event.usage] : [])).at(0);

test.each(whole.map((_, k) => ({ k })))('goes on from exactly the text of $k delivered tokens', async ({ k }) => {
  const a = upstream('a', [[...whole.slice(0, k).map((piece) => text(piece)), reset]], able);
  const b = knows(whole);
  const run = await send(routingOf([a, b], { retry: { attempts: 0, baseMs: 1, maxMs: 1, longestWaitMs: 1 } }));
  const { events, error } = await drink(run);
  expect(error).toBeUndefined();
  expect(textsOf(events)).toBe(whole.join(''));
  expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1);
  expect(events.filter(({ type }) => type === 'usage')).toHaveLength(1);
  expect(events.filter(({ type }) => type === 'takeover')).toHaveLength(k === 0 ? 0 : 1);
  expect(run.attempts.map(({ target }) => target)).toEqual(['a/m', 'b/m']);
  if (k === 0) return;
  expect(usageOf(events)).toMatchObject({
    completionTokens: k + 3,
    estimated: true,
    parts: [
      { target: 'a/m', completionTokens: k },
      { target: 'b/m', promptTokens: 20, completionTokens: 3 },
    ],
  });
  expect(run.decisions?.()).toContainEqual(expect.objectContaining({ name: 'takeover', action: 'b/m' }));
});

test('an engine that ends under many answers loses none of them, and goes on serving', async () => {
  const lost = new GatewayError('engine_failed', 'The engine ended.');
  const beginnings = Array.from({ length: 40 }, (_, i): Step[] => [
    ...(i < 20 ? [text(whole[0] ?? '')] : []), // the others still waited for a slot
    { waitMs: 100 },
    lost,
  ]);
  const a = upstream('a', [...beginnings, (request) => goingOn(whole, request)], able);
  const routing = routingOf([a]);
  const answers = await Promise.all(beginnings.map(async () => drink(await send(routing))));
  expect(answers.map(({ events, error }) => error ?? textsOf(events))).toEqual(answers.map(() => whole.join('')));
  const next = await Promise.all([1, 2, 3].map(async () => drink(await send(routing))));
  expect(next.map(({ events }) => textsOf(events))).toEqual(next.map(() => whole.join('')));
});

test.each<{ name: string; script: Step[]; request?: Partial<ChatRequest>; targets?: 'unable'; takeover?: object }>([
  { name: 'no target continues a given beginning', script: [text('The'), reset], targets: 'unable' },
  { name: 'more was delivered than is kept', script: [text('x'.repeat(100)), reset], takeover: { maxBytes: 50 } },
  { name: 'takeover is switched off', script: [text('The'), reset], takeover: { attempts: 0 } },
  {
    name: 'the prompt is token ids of another model',
    script: [text('The'), reset],
    request: { prompt: { text: [1, 2], echo: false } },
  },
])('the client gets the break as an error when $name', async ({ script, request, targets, takeover }) => {
  const b = targets ? upstream('b', [says('b')]) : knows(whole);
  const routing = routingOf([upstream('a', [script], targets ? {} : able), b], {
    takeover: { ...defaultTakeover, ...takeover },
  });
  const { error, events } = await drink(await send(routing, request));
  expect(error).toMatchObject({ kind: 'upstream_failed', message: reset.message });
  expect((error as GatewayError).attempts.map(({ target }) => target)).toEqual(['a/m']);
  expect(b.requests).toHaveLength(0);
  expect(events.some(({ type }) => type === 'finish')).toBe(false);
});

test('thoughts that are over are left behind: the answer is continued', async () => {
  const script: Step[] = [{ type: 'reasoning-delta', choice: 0, text: 'hm' }, text('The moon'), reset];
  const { events, error } = await drink(await send(routingOf([upstream('a', [script]), knows(whole)])));
  expect(error).toBeUndefined();
  expect(textsOf(events)).toBe(whole.join(''));
});

test('nobody finishes another model’s thoughts: who takes over begins the answer, whether it continues beginnings or not', async () => {
  const script: Step[] = [{ type: 'reasoning-delta', choice: 0, text: 'hm' }, reset];
  const b = upstream('b', [[{ type: 'reasoning-delta', choice: 0, text: 'well' }, ...says('whole')]]);
  const { events, error } = await drink(await send(routingOf([upstream('a', [script]), b]), { maxTokens: 9 }));
  expect(error).toBeUndefined();
  expect(b.requests[0]).toMatchObject({ continueFinalMessage: false, maxTokens: 8 });
  const collector = createCollector();
  for (const event of events) collector.push(event);
  expect(collector.result().choices[0]).toMatchObject({
    text: 'whole',
    reasoning: [{ text: 'hm' }, { text: 'well' }],
    finishReason: 'stop',
  });
});

test('a refusal is continued as a refusal', async () => {
  const script: Step[] = [{ type: 'refusal-delta', choice: 0, text: 'I will' }, reset];
  const b = upstream('b', [[text(' not'), text(' help.'), finish()]], able);
  const { events, error } = await drink(await send(routingOf([upstream('a', [script]), b])));
  expect(error).toBeUndefined();
  expect(begunIn(b.requests[0] ?? ask())?.content).toEqual([{ type: 'text', text: 'I will' }]);
  const collector = createCollector();
  for (const event of events) collector.push(event);
  expect(collector.result().choices[0]).toMatchObject({ text: '', refusal: 'I will not help.' });
});

test.each([
  { name: 'repeats it', pieces: ['The moon pulls the water, twice a day.'], joined: ', twice a day.' },
  {
    name: 'repeats it in pieces',
    pieces: ['The', ' moon pulls the', ' water, twice', ' a day.'],
    joined: ', twice a day.',
  },
  { name: 'goes on', pieces: [',', ' twice a day.'], joined: ', twice a day.' },
  { name: 'only begins to sound like it', pieces: ['The moon', ' again'], joined: 'The moon again' },
])('a given beginning is not heard twice from an upstream that $name', async ({ pieces, joined }) => {
  const a = upstream('a', [[text('The moon pulls'), text(' the water'), reset]], able);
  const b = upstream('b', [[...pieces.map((piece) => text(piece)), finish()]], able);
  const { events } = await drink(await send(routingOf([a, b])));
  expect(textsOf(events)).toBe(`The moon pulls the water${joined}`);
});

describe('inside JSON', () => {
  const json: Partial<ChatRequest> = {
    responseFormat: { type: 'json-schema', name: 'x', schema: { type: 'object' }, strict: true },
  };
  const schema = { ...able, jsonSchema: true };
  const half = () => upstream('a', [[text('{"a":'), reset]], schema);

  test('who knows where the schema stands is asked first; who does not is asked without it', async () => {
    const free = upstream('free', [[text('1}'), finish()]], schema);
    const exact = upstream('exact', [[text('2}'), finish()]], { ...schema, constrainedPrefill: true });
    expect(textsOf((await drink(await send(routingOf([half(), free, exact]), json))).events)).toBe('{"a":2}');
    expect(exact.requests[0]?.responseFormat).toEqual(json.responseFormat);
    expect(textsOf((await drink(await send(routingOf([half(), free]), json))).events)).toBe('{"a":1}');
    expect(free.requests[0]?.responseFormat).toEqual({ type: 'text' });
  });

  test('two parts that are no JSON together end in the error, not as an answer', async () => {
    const anew = upstream('anew', [[text('{"a":1}'), finish()]], schema);
    const { error, events } = await drink(await send(routingOf([half(), anew]), json));
    expect(error).toMatchObject({ kind: 'upstream_failed', message: expect.stringContaining('JSON') });
    expect(events.some(({ type }) => type === 'finish')).toBe(false);
  });
});

test('a target that refuses the continuation is no refusal of the client: the next one is asked', async () => {
  const a = upstream('a', [[text(whole[0] ?? ''), reset]], able);
  const picky = upstream('picky', [[new GatewayError('upstream_rejected', 'no prefix, please')]], able);
  const { events, error } = await drink(await send(routingOf([a, picky, knows(whole)])));
  expect(error).toBeUndefined();
  expect(textsOf(events)).toBe(whole.join(''));
});

test.each([
  { name: 'an end without a finish', script: [text('The')] },
  { name: 'silence in the middle', script: [text('The'), 'stall' as const] },
  { name: 'a foreign error', script: [text('The'), new TypeError('bug')] },
])('$name is a break too', async ({ script }) => {
  const routing = routingOf([upstream('a', [script]), knows(whole)], {
    timeouts: { firstTokenMs: 5000, idleMs: 250, totalMs: 0 },
  });
  expect(textsOf((await drink(await send(routing))).events)).toBe(whole.join(''));
});

test('a slow reader is no silent target', async () => {
  const routing = routingOf([upstream('a', [says('a', 'b', 'c')])], {
    timeouts: { firstTokenMs: 5000, idleMs: 150, totalMs: 0 },
  });
  let said = '';
  for await (const event of (await send(routing)).events) {
    if (event.type === 'text-delta') said += event.text;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  expect(said).toBe('abc');
});

test('a target that breaks may finish its own answer when it is the only one, at most as often as allowed', async () => {
  const pieces = [
    [text('The '), reset],
    [text('moon '), reset],
    [text('pulls'), finish(), usage(1, 1)],
  ];
  const a = upstream('a', pieces, able);
  expect(textsOf((await drink(await send(routingOf([a])))).events)).toBe('The moon pulls');
  expect(begunIn(a.requests[2] ?? ask())?.content).toEqual([{ type: 'text', text: 'The moon ' }]);

  const b = upstream('a', pieces, able);
  const { error } = await drink(await send(routingOf([b], { takeover: { ...defaultTakeover, attempts: 1 } })));
  expect(error).toMatchObject({ kind: 'upstream_failed' });
});

test('what may still be said shrinks by what was delivered; with nothing left only the finish is missing', async () => {
  const a = upstream('a', [[text('one'), text(' two'), reset]], able);
  const b = upstream('b', [[text(' three'), finish()]], able);
  const { events } = await drink(await send(routingOf([a, b]), { maxTokens: 5 }));
  expect(b.requests[0]?.maxTokens).toBe(3);
  expect(textsOf(events)).toBe('one two three');

  const c = upstream('c', [[text('never')]], able);
  const again = upstream('a', [[text('one'), text(' two'), reset]], able);
  const { events: cut, error } = await drink(await send(routingOf([again, c]), { maxTokens: 2 }));
  expect(error).toBeUndefined();
  expect(cut.at(-2)).toEqual({ type: 'finish', choice: 0, reason: 'length' });
  expect(c.requests).toHaveLength(0);
});

test('an answer that is complete but for its end is complete', async () => {
  const { events, error } = await drink(await send(routingOf([upstream('a', [[text('whole'), finish(), reset]])])));
  expect(error).toBeUndefined();
  expect(events.filter(({ type }) => type !== 'usage')).toEqual([text('whole'), finish()]);
});

test('of several choices only the open ones are finished, each from its own text', async () => {
  const a = upstream('a', [[text('A1', 0), text('B1', 1), text('C1', 2), text('B2', 1), finish(1), reset]], able);
  const b = upstream('b', [[text('2', 0), finish()]], able);
  const { events, error } = await drink(await send(routingOf([a, b]), { choices: 3, sampling: { seed: 7 } }));
  expect(error).toBeUndefined();
  expect([0, 1, 2].map((choice) => textsOf(events, choice))).toEqual(['A12', 'B1B2', 'C12']);
  expect(events.flatMap((event) => (event.type === 'finish' ? [event.choice] : [])).sort()).toEqual([0, 1, 2]);
  expect(
    b.requests.map((request) => [request.choices, request.sampling.seed, textOf(begunIn(request)?.content ?? [])]),
  ).toEqual([
    [1, 7, 'A1'],
    [1, 9, 'C1'],
  ]);
});

const args = '{"city":"Sankt Peter-Ording","days":[1,2,3],"note":"a \\"quoted\\" word"}';
const start = (index: number, id: string): CompletionEvent => ({
  type: 'tool-call-start',
  choice: 0,
  index,
  id,
  name: 'tides',
  kind: 'function',
});
const argue = (index: number, value: string): CompletionEvent => ({
  type: 'tool-call-delta',
  choice: 0,
  index,
  arguments: value,
});

test.each(Array.from({ length: args.length + 1 }, (_, k) => ({ k })))(
  'goes on inside tool-call arguments after $k characters',
  async ({ k }) => {
    const a = upstream('a', [[text('Let me look.'), start(0, 'call_a'), argue(0, args.slice(0, k)), reset]], able);
    const b = upstream(
      'b',
      [
        (request) => {
          const open = begunIn(request)?.toolCalls.at(-1);
          const rest = args.slice(open?.arguments.length);
          return [...(rest ? [argue(0, rest)] : []), { type: 'finish', choice: 0, reason: 'tool-calls' }];
        },
      ],
      able,
    );
    const tools = [{ kind: 'function' as const, name: 'tides' }];
    const { events, error } = await drink(await send(routingOf([a, b]), { tools }));
    expect(error).toBeUndefined();
    expect(begunIn(b.requests[0] ?? ask())).toMatchObject({
      toolCalls: [{ id: 'call_a', arguments: args.slice(0, k) }],
    });
    const collector = createCollector();
    for (const event of events) collector.push(event);
    const [choice] = collector.result().choices;
    expect(choice?.text).toBe('Let me look.');
    expect(choice?.toolCalls).toEqual([{ id: 'call_a', kind: 'function', name: 'tides', arguments: args }]);
    expect(choice?.finishReason).toBe('tool-calls');
  },
);

test.each<{ name: string; steps: Step[]; whole: boolean }>([
  { name: 'names it again and goes on', steps: [start(0, 'call_b'), argue(0, args.slice(9))], whole: true },
  {
    name: 'says it all again',
    steps: [start(0, 'call_b'), argue(0, args.slice(0, 5)), argue(0, args.slice(5))],
    whole: true,
  },
  { name: 'goes on with text', steps: [text(args.slice(9))], whole: false },
  { name: 'makes another call', steps: [{ ...start(0, 'call_b'), name: 'other' }, argue(0, '{}')], whole: false },
  { name: 'says nothing more', steps: [], whole: false },
])('a cut call is whole or an error, where who takes over $name', async ({ steps, whole }) => {
  const a = upstream('a', [[start(0, 'call_a'), argue(0, args.slice(0, 9)), reset]], able);
  const b = upstream('b', [[...steps, { type: 'finish', choice: 0, reason: 'tool-calls' }]], able);
  const { events, error } = await drink(await send(routingOf([a, b])));
  const collector = createCollector();
  for (const event of events) collector.push(event);
  const called = collector.result().choices[0]?.toolCalls.map(({ id, arguments: json }) => [id, json]);
  if (whole) expect([called, error]).toEqual([[['call_a', args]], undefined]);
  else expect(error).toMatchObject({ kind: 'upstream_failed', message: expect.stringContaining('JSON') });
  expect(events.some(({ type }) => type === 'finish')).toBe(whole);
});

test('new calls of the second target count on, and inside a call only who knows tools may go on', async () => {
  const a = upstream(
    'a',
    [[start(0, 'call_a'), argue(0, '{"x":1}'), start(1, 'call_b'), argue(1, '{"x":'), reset]],
    able,
  );
  const noTools = upstream('n', [says('no')], { prefill: true });
  const b = upstream('b', [[argue(1, '2}'), start(0, 'call_c'), argue(0, '{}'), finish()]], able);
  const { events } = await drink(await send(routingOf([a, noTools, b])));
  expect(noTools.requests).toHaveLength(0);
  const collector = createCollector();
  for (const event of events) collector.push(event);
  expect(collector.result().choices[0]?.toolCalls.map(({ id, arguments: json }) => [id, json])).toEqual([
    ['call_a', '{"x":1}'],
    ['call_b', '{"x":2}'],
    ['call_c', '{}'],
  ]);
});

test('a raw completion goes on from its prompt and the delivered text', async () => {
  const a = upstream('a', [[text(' upon'), reset]], { ...able, completions: true });
  const b = upstream('b', [[text(' a time'), finish()]], { ...able, completions: true });
  await drink(await send(routingOf([a, b]), { messages: [], prompt: { text: 'Once', echo: false } }));
  expect(b.requests[0]?.prompt).toEqual({ text: 'Once upon', echo: false });
});

test('a client that leaves in the middle ends it: nobody takes over, nothing counts', async () => {
  const client = new AbortController();
  const a = upstream('a', [[text('The'), 'stall']], able);
  const b = knows(whole);
  const routing = routingOf([a, b]);
  setTimeout(() => client.abort(), 20);
  const { error } = await drink(await send(routing, {}, contextOf({ signal: client.signal })));
  expect(error).toMatchObject({ kind: 'cancelled' });
  expect([a.aborted(), b.requests.length, routing.states.of('a/m').inFlight]).toEqual([1, 0, 0]);
});

test('a reader that stops reading frees the target', async () => {
  const a = upstream('a', [[text('The'), text(' moon'), 'stall']], able);
  const routing = routingOf([a]);
  for await (const event of (await send(routing)).events) if (event.type === 'text-delta') break;
  expect([a.aborted(), routing.states.of('a/m').inFlight]).toEqual([1, 0]);
});

const bytes = (value: string): CompletionEvent => ({ type: 'wire', bytes: new TextEncoder().encode(value) });
const wire = { dialect: 'openai-chat' as const, body: {}, headers: {} };
/** A toy dialect: every character is a delta. */
const decodeWire = (_: string, raw: Uint8Array): CompletionEvent[] => [
  { type: 'start', id: 'up-1' },
  ...[...new TextDecoder().decode(raw)].map((piece) => text(piece)),
];

test('an answer that passed through as bytes is read back only when it breaks, and goes on as events', async () => {
  const a = upstream('a', [[bytes('The '), bytes('moon'), reset]], able);
  const b = knows(whole);
  const { events, error } = await drink(await send(routingOf([a, b], {}, { decodeWire }), { wire }));
  expect(error).toBeUndefined();
  expect(events.slice(0, 2)).toEqual([bytes('The '), bytes('moon')]);
  expect(events[2]).toMatchObject({
    type: 'takeover',
    target: 'b/m',
    attempts: 2,
    delivered: decodeWire('', new TextEncoder().encode('The moon')),
  });
  expect(textsOf(events)).toBe(whole.join('').slice('The moon'.length));
  expect(b.requests[0]?.wire).toBeUndefined();
  expect(events.at(-1)).toMatchObject({
    type: 'usage',
    usage: { parts: [{ target: 'a/m', completionTokens: 8 }, { target: 'b/m' }] },
  });
});

test('bytes that nobody can read back, or too many of them, end in the error', async () => {
  for (const options of [{}, { decodeWire }]) {
    const a = upstream('a', [[bytes('The moon'), reset]], able);
    const routing = routingOf([a, knows(whole)], { takeover: { attempts: 2, maxBytes: 4 } }, options);
    expect((await drink(await send(routing, { wire }))).error).toMatchObject({ kind: 'upstream_failed' });
  }
});

test('a body that is not streamed is held until it is whole: a break costs the client nothing', async () => {
  const a = upstream('a', [[bytes('{"half":'), reset]]);
  const b = upstream('b', [[bytes('{"whole":1}'), finish(), usage(1, 1)]]);
  const { events } = await drink(await send(routingOf([a, b]), { wire, stream: false }));
  expect(events).toEqual([bytes('{"whole":1}'), finish(), usage(1, 1)]);
});
