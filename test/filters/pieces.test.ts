import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CompletionEvent } from '../../src/core/event.ts';
import { joinPieces } from '../../src/core/pieces.ts';
import { chat, sse as eventsOf } from '../app.ts';
import { chunk, done, finishChunk, sse } from '../faulty-upstream.ts';
import type { Answer } from '../http/post.ts';
import { filtersOf, finish } from './harness.ts';
import { filteredApp, upstream } from './upstream.ts';

/** A read is over: passes every filter as it is. */
const read: CompletionEvent = { type: 'progress', processedTokens: 1, totalTokens: 1 };

/** What was given out for each read. */
function byRead(seen: readonly CompletionEvent[]): string[] {
  const texts = [''];
  for (const event of seen) {
    if (event.type === 'progress') texts.push('');
    else if (event.type === 'text-delta') {
      expect(event.pieces?.join('') ?? event.text).toBe(event.text);
      expect(event.pieces ?? ['a']).not.toContain('');
      texts[texts.length - 1] += event.text;
    } else texts[texts.length - 1] += JSON.stringify(event);
  }
  return texts;
}

test.each(['mask', 'block', 'flag'])(
  'deltas that come together are held and given out as each for itself: %s',
  async (action) => {
    const filters = filtersOf({ words: { kind: 'patterns', on: 'output', phrases: ['abba', 'cc'], action } });
    const delta = fc.array(fc.constantFrom('a', 'b', 'c', 'A', ' ', '\u00ad', '😀'), { minLength: 1, maxLength: 4 });
    const reads = fc.array(
      fc.array(
        delta.map((letters) => letters.join('')),
        { minLength: 1, maxLength: 5 },
      ),
      { maxLength: 5 },
    );
    await fc.assert(
      fc.asyncProperty(reads, async (reads) => {
        const joined = reads.flatMap((pieces) => [joinPieces(0, pieces), read]);
        const apart = reads.flatMap((pieces) => [...pieces.map((piece) => joinPieces(0, [piece])), read]);
        const [fast, slow] = [await filters.answer([...joined, finish]), await filters.answer([...apart, finish])];
        expect(byRead(fast.seen)).toEqual(byRead(slow.seen));
        expect(fast.decisions).toEqual(slow.decisions);
      }),
      { numRuns: 300, seed: 3 },
    );
  },
);

test('a filter leaves the deltas of a stream as they are cut, also where many come in one read', async () => {
  const words = { kind: 'patterns', on: 'output', phrases: ['secret'], action: 'mask' };
  const app = filteredApp({ words });
  const contentsOf = async (deltas: readonly string[]) => {
    upstream.answer({ body: [sse(...deltas.map((content) => chunk({ content })), finishChunk('stop')) + done] });
    const chunks = (await eventsOf(await chat(app, { stream: true }))) as Answer[];
    return chunks.flatMap((one) => one.choices?.[0]?.delta?.content || []);
  };
  const deltas = ['one', ' two', ' s', 'ea', ' "q"', ' é', ' three', ' four', ' five'];
  expect(await contentsOf(deltas)).toEqual(deltas);
  expect((await contentsOf(['so', ' secr', 'et', ' it is'])).join('')).toBe('so [phrase] it is');
});
