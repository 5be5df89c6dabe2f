import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readChatStream } from '../../providers/openai/read-stream.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { createChatChunkDecoder } from '../../src/wire/openai/upstream-answer.ts';
import { createSseDecoder } from '../../src/wire/sse.ts';

interface Told {
  readonly events: readonly CompletionEvent[];
  readonly error: string | undefined;
}

/** Every event through JSON: what the quick way must agree with. */
function slowly(bytes: Uint8Array): Told {
  const events: CompletionEvent[] = [];
  try {
    const sse = createSseDecoder();
    const decoder = createChatChunkDecoder();
    const last = [...sse.push(bytes), ...[sse.end()].filter((event) => event !== undefined)];
    for (const { data, event } of last) {
      if (data === '[DONE]') break;
      let parsed: unknown;
      try {
        parsed = JSON.parse(data);
      } catch {
        throw new Error('The upstream sent an event that is not a JSON object.');
      }
      if (typeof parsed !== 'object' || parsed === null)
        throw new Error('The upstream sent an event that is not a JSON object.');
      events.push(...decoder.push(parsed));
      if (event === 'error') throw new Error('The upstream failed to answer.');
    }
    events.push(...decoder.end());
    return { events, error: undefined };
  } catch (error) {
    return { events, error: (error as Error).message };
  }
}

/** What came in one read as the deltas that it came in. */
const apart = (events: readonly CompletionEvent[]): CompletionEvent[] =>
  events.flatMap((event): CompletionEvent[] => {
    if (event.type !== 'text-delta' || !event.pieces) return [event];
    const { type, choice, text, pieces } = event;
    expect(pieces.join('')).toBe(text);
    return pieces.map((piece) => ({ type, choice, text: piece }));
  });

function quickly(bytes: Uint8Array, cuts: readonly number[]): Told {
  const { events, error } = joined(bytes, cuts);
  return { events: apart(events), error };
}

function joined(bytes: Uint8Array, cuts: readonly number[]): Told {
  const events: CompletionEvent[] = [];
  const step = readChatStream();
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  try {
    let from = 0;
    for (const place of [...places, bytes.length]) {
      if (step.push(bytes.slice(from, place), events)) return { events, error: undefined };
      from = place;
    }
    step.end?.(events);
    return { events, error: undefined };
  } catch (error) {
    return { events, error: (error as Error).message };
  }
}

const chunk = (delta: object, rest: object = {}, more: object = {}) =>
  JSON.stringify({
    id: 'c',
    object: 'chat.completion.chunk',
    model: 'mock',
    choices: [{ index: 0, delta, finish_reason: null, ...rest }],
    ...more,
  });
const text = fc.oneof(
  fc.constantFrom(
    ' token',
    'mock',
    'a"b',
    'x\\',
    'new\nline',
    '\u0007',
    '',
    '","refusal":"no',
    'ä',
    '😀',
    '\u2028',
    'assistant',
  ),
  fc.string({ unit: 'binary', maxLength: 8 }),
);
const event = fc.oneof(
  { weight: 12, arbitrary: text.map((content) => `data: ${chunk({ content })}`) },
  { weight: 3, arbitrary: text.map((content) => `data: ${chunk({ content }, { index: 1 })}`) },
  { weight: 1, arbitrary: text.map((content) => `data: ${chunk({ content, content2: content })}`) },
  // the same name twice: the last one counts
  {
    weight: 2,
    arbitrary: text.map(
      (content) => `data: {"choices":[{"index":0,"delta":{"content":${JSON.stringify(content)},"content":"last"}}]}`,
    ),
  },
  {
    weight: 1,
    arbitrary: text.map(
      (content) => `data: {"choices":[{"delta":{"content":${JSON.stringify(content)},"reasoning":"thought"}}]}`,
    ),
  },
  {
    weight: 1,
    arbitrary: text.map(
      (content) => `data: ${chunk({ content }, {}, { usage: { prompt_tokens: 3, completion_tokens: 4 } })}`,
    ),
  },
  { weight: 1, arbitrary: text.map((content) => `data:${chunk({ content })}`) },
  { weight: 1, arbitrary: text.map((content) => `event: note\nid: 7\ndata: ${chunk({ content })}`) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ': a comment',
      '',
      'data: {"choices":[{"index":0,"delta":{"content":"a',
      'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\ndata:  ',
      `data: ${chunk({ role: 'assistant', content: '' })}`,
      `data: ${chunk({ content: 'x' }, { logprobs: { content: [{ token: 'x', logprob: -1, top_logprobs: [] }] } })}`,
      `data: ${chunk({ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }] })}`,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      `data: ${chunk({}, { finish_reason: 'stop' })}`,
      `data: ${chunk({}, { finish_reason: 'stop', index: 1 })}`,
      'data: {"error":{"message":"broken"}}',
      `event: error\ndata: ${chunk({ content: 'x' })}`,
      'data: [DONE]',
      'data: 7',
    ),
  },
);

test('a stream read by the shape of its chunks tells what JSON tells, whatever comes and wherever it is cut', () => {
  const bytes = new TextEncoder();
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 30 }),
      fc.constantFrom('\n\n', '\n\n', '\n\n', '\r\n\r\n', '\r\r'),
      fc.array(fc.nat(6000), { maxLength: 12 }),
      fc.boolean(),
      (events, blank, cuts, whole) => {
        const finish = whole ? [`data: ${chunk({}, { finish_reason: 'stop' })}`, 'data: [DONE]'] : [];
        const stream = bytes.encode(
          [...events, ...finish]
            .map((one) => one.replaceAll('\n', blank[0] === '\r' ? blank.slice(0, blank.length / 2) : '\n') + blank)
            .join(''),
        );
        const normal = ({ events, error }: Told) => ({ error, events: JSON.stringify(events) });
        expect(normal(quickly(stream, cuts))).toEqual(normal(slowly(stream)));
      },
    ),
    { numRuns: 1500 },
  );
});

test('nearly all of a plain stream is read without JSON', () => {
  const parse = JSON.parse;
  let parsed = 0;
  JSON.parse = ((...given: Parameters<typeof parse>) => {
    parsed++;
    return parse(...given) as unknown;
  }) as typeof parse;
  try {
    const events = Array.from({ length: 200 }, (_, at) => `data: ${chunk({ content: ` word${at}` })}\n\n`);
    const bytes = new TextEncoder().encode(`${events.join('')}data: ${chunk({}, { finish_reason: 'stop' })}\n\n`);
    const out: CompletionEvent[] = [];
    const step = readChatStream();
    for (let at = 0; at < bytes.length; at += 1000) step.push(bytes.slice(at, at + 1000), out);
    step.end?.(out);
    expect(apart(out).filter(({ type }) => type === 'text-delta')).toHaveLength(200);
  } finally {
    JSON.parse = parse;
  }
  expect(parsed).toBeLessThan(10); // the first ones, and the finish
});
