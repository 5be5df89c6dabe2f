import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concatBytes } from '../../src/core/streams.ts';
import { createSseCutter, createSseDecoder, decodeSse, type SseEvent } from '../../src/wire/sse.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
async function* pieces(...parts: readonly Uint8Array[]) {
  yield* parts;
}
async function all(...parts: readonly Uint8Array[]) {
  const events: SseEvent[] = [];
  for await (const event of decodeSse(pieces(...parts))) events.push(event);
  return events;
}
const byteByByte = (text: string) => Array.from(bytesOf(text), (byte) => Uint8Array.of(byte));

test.each([
  { name: 'LF', wire: 'data: a\n\ndata: b\n\n', data: ['a', 'b'] },
  { name: 'CRLF', wire: 'data: a\r\n\r\ndata: b\r\n\r\n', data: ['a', 'b'] },
  { name: 'CR', wire: 'data: a\r\rdata: b\r\r', data: ['a', 'b'] },
  { name: 'a byte order mark', wire: '\uFEFFdata: a\n\n', data: ['a'] },
  { name: 'a byte order mark inside the data', wire: 'data: \uFEFFa\n\n', data: ['\uFEFFa'] },
  { name: 'comments', wire: ': ping\n\ndata: a\n: more\n\n', data: ['a'] },
  { name: 'no space after the colon, one of two removed', wire: 'data:a\n\ndata:  b\n\n', data: ['a', ' b'] },
  { name: 'several data lines', wire: 'data: a\ndata: b\n\n', data: ['a\nb'] },
  { name: 'a field without a colon', wire: 'data\ndata\n\n', data: ['\n'] },
  { name: 'characters of four bytes', wire: 'data: {"t":"😀é中"}\n\n', data: ['{"t":"😀é中"}'] },
  { name: 'an end without the blank line', wire: 'data: a\n\ndata: [DONE]', data: ['a', '[DONE]'] },
])('$name is read alike, whole and byte by byte', async ({ wire, data }) => {
  expect((await all(bytesOf(wire))).map((event) => event.data)).toEqual(data);
  expect((await all(...byteByByte(wire))).map((event) => event.data)).toEqual(data);
});

test('event names and ids arrive with their event and do not stay for the next', async () => {
  const events = await all(bytesOf('event: error\nid: 7\ndata: {}\n\ndata: a\n\n'));
  expect(events).toEqual([{ event: 'error', id: '7', data: '{}' }, { data: 'a' }]);
});

const line = fc.oneof(
  fc.constantFrom('data: ', 'data:', 'data', ': ', ':', 'event: x', 'event:', 'id: 1', 'id', 'retry: 5', 'foo: b', ''),
  fc.string({ unit: 'binary', maxLength: 12 }).map((text) => `data: ${text}`),
  fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => `data: ${text}`),
);
const stream = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r', '\n\n', '\r\n\r\n')), { maxLength: 12 });
const cuts = fc.array(fc.nat(200), { maxLength: 12 });
function split(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const places = [...new Set(at.filter((place) => place < bytes.length)), 0, bytes.length].sort((a, b) => a - b);
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}
const decoded = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

test('any stream, cut anywhere, is read as eventsource-parser reads it whole', () => {
  fc.assert(
    fc.property(stream, cuts, (lines, at) => {
      const bytes = bytesOf(`${lines.map(([text, end]) => text + end).join('')}data: end\n\n`);
      const expected: SseEvent[] = [];
      createParser({
        onEvent: ({ data, event, id }) =>
          expected.push({ data, ...(event === undefined ? {} : { event }), ...(id === undefined ? {} : { id }) }),
      }).feed(decoded(bytes));
      const decoder = createSseDecoder();
      expect(split(bytes, at).flatMap((piece) => decoder.push(piece))).toEqual(expected);
    }),
    { numRuns: 3000 },
  );
});

test('the cutter passes every byte on, in order, and stops only between events', () => {
  fc.assert(
    fc.property(stream, cuts, (lines, at) => {
      const bytes = bytesOf(lines.map(([text, end]) => text + end).join(''));
      const cutter = createSseCutter();
      const passed: Uint8Array[] = [];
      for (const piece of split(bytes, at)) {
        const whole = cutter.push(piece);
        if (!whole) continue;
        passed.push(whole.slice());
        // an event of our own put here is read as one event, so nothing was cut in two
        const sofar = concatBytes([...passed, bytesOf('data: own\n\n')]);
        expect(createSseDecoder().push(sofar).at(-1)).toEqual({ data: 'own' });
      }
      expect(concatBytes([...passed, cutter.rest()])).toEqual(bytes);
    }),
    { numRuns: 3000 },
  );
});

test.each([
  { name: 'one endless line', piece: 'x'.repeat(100) },
  { name: 'endless data lines', piece: `data: ${'x'.repeat(100)}\n` },
])('$name ends in an error and not in the memory', ({ piece }) => {
  const decoder = createSseDecoder({ maxEventBytes: 1000 });
  const cutter = createSseCutter({ maxEventBytes: 1000 });
  const feed = (push: (bytes: Uint8Array) => unknown) => {
    for (let count = 0; count < 20; count++) push(bytesOf(piece));
  };
  expect(() => feed(decoder.push)).toThrow(expect.objectContaining({ kind: 'upstream_failed' }));
  expect(() => feed(cutter.push)).toThrow(expect.objectContaining({ kind: 'upstream_failed' }));
});
