import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ReadyIterator } from '../../src/core/streams.ts';
import { forEachOf } from '../../src/core/streams.ts';
import { type Step, through, watched } from '../../src/core/through.ts';

interface Item {
  readonly kind: 'give' | 'stop' | 'throw';
  readonly values: readonly number[];
}

/** What the step does with one item; the same for both ways of reading. */
const step = (): Step<Item, number> => ({
  push(item, out) {
    out.push(...item.values);
    if (item.kind === 'throw') throw new Error('the step broke');
    return item.kind === 'stop';
  },
  end: (out) => void out.push(-1),
});

interface Source extends AsyncIterable<Item> {
  closed: number;
}

/** Items of which some are there already (`ready`), others come in time (`wait`) or on request only; may break at its end. */
function sourceOf(items: readonly Item[], there: readonly (boolean | 'in time')[], breaks: boolean): Source {
  let at = 0;
  let come = -1;
  const source: Source = {
    closed: 0,
    [Symbol.asyncIterator](): ReadyIterator<Item> {
      const take = (): IteratorResult<Item, undefined> => {
        const value = items[at++];
        if (value) return { done: false, value };
        if (breaks) throw new Error('the source broke');
        return { done: true, value: undefined };
      };
      return {
        next: async () => take(),
        ready() {
          const isThere = there[at % there.length] === true || come === at;
          return isThere && (at < items.length || !breaks) ? take() : undefined;
        },
        wait() {
          if (there[at % there.length] !== 'in time' || come === at) return undefined;
          return Promise.resolve().then(() => {
            come = at;
          });
        },
        return: async () => {
          source.closed++;
          return { done: true, value: undefined };
        },
      };
    },
  };
  return source;
}

async function* asGenerator(source: AsyncIterable<Item>): AsyncGenerator<number> {
  const out: number[] = [];
  const { push, end } = step();
  for await (const item of source) {
    let stop: boolean | undefined;
    try {
      stop = push(item, out);
    } catch (error) {
      yield* out;
      throw error;
    }
    yield* out.splice(0);
    if (stop) return;
  }
  end?.(out);
  yield* out;
}

/** `ready` is asked where nobody waits: a failure is told by `next`. */
function quiet(stream: AsyncIterable<number>): AsyncIterable<number> {
  const iterator: ReadyIterator<number> = stream[Symbol.asyncIterator]();
  const ready = () => {
    try {
      return iterator.ready?.();
    } catch {
      expect.unreachable('ready must not throw');
    }
  };
  const next = () => iterator.next();
  const wait = () => iterator.wait?.();
  const close = async () => (await iterator.return?.()) ?? { done: true as const, value: undefined };
  return { [Symbol.asyncIterator]: () => ({ next, ready, wait, return: close }) };
}

const readAll = async (stream: AsyncIterable<number>, most: number, each: boolean) => {
  const seen: number[] = [];
  const take = (value: number) => (seen.push(value) >= most ? false : undefined);
  try {
    if (each) await forEachOf(quiet(stream), take);
    else for await (const value of stream) if (take(value) === false) break;
    return { seen, error: undefined };
  } catch (error) {
    return { seen, error: String(error) };
  }
};

const kind = fc.oneof(
  { weight: 8, arbitrary: fc.constant('give' as const) },
  { weight: 1, arbitrary: fc.constantFrom('stop' as const, 'throw' as const) },
);
const items = fc.array(fc.record({ kind, values: fc.array(fc.nat(9), { maxLength: 3 }) }), { maxLength: 12 });

test('a stream through a step gives what a generator would, whatever is there already, broken or left early', async () => {
  await fc.assert(
    fc.asyncProperty(
      items,
      fc.array(fc.constantFrom(true, false, 'in time' as const), { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 30 }),
      fc.boolean(),
      async (items, there, breaks, most, each) => {
        const slow = sourceOf(items, [false], breaks);
        const expected = await readAll(asGenerator(slow), most, false);
        const fast = sourceOf(items, there, breaks);
        expect(
          await readAll(
            through(
              watched(fast, () => {}),
              step,
            ),
            most,
            each,
          ),
        ).toEqual(expected);
        expect(fast.closed).toBe(slow.closed);
      },
    ),
    { numRuns: 500 },
  );
});

test('watched items are each seen once, in order, before they are given', async () => {
  const items: Item[] = [1, 2, 3].map((value) => ({ kind: 'give', values: [value] }));
  const seen: Item[] = [];
  const stream = watched(sourceOf(items, [true, false], false), (value) => void seen.push(value));
  let given = 0;
  await forEachOf(stream, () => {
    given++;
    expect(seen).toHaveLength(given);
    return undefined;
  });
  expect(seen).toEqual(items);
});
