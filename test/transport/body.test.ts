import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { passThroughSse } from '../../providers/shared/pass-through.ts';
import type { StreamObserver } from '../../providers/shared/see-events.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { forEachOf } from '../../src/core/streams.ts';
import { watched } from '../../src/core/through.ts';
import { PulledBody } from '../../src/transport/body.node.ts';

type Deed = 'push' | 'turn' | 'end' | 'fail';

const deeds = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Deed>('push') },
    { weight: 6, arbitrary: fc.constant<Deed>('turn') },
    { weight: 1, arbitrary: fc.constantFrom<Deed>('end', 'fail') },
  ),
  { maxLength: 30 },
);

const quietSource = { pause() {}, resume() {}, abort() {} };

/** What an upstream does with a body, at last ending it. */
async function act(body: PulledBody, deeds: readonly Deed[]) {
  let pushed = 0;
  for (const deed of [...deeds, 'end']) {
    if (deed === 'push')
      body.push(Buffer.from(`data: {"choices":[{"index":0,"delta":{"content":"${pushed++}"}}]}\n\n`));
    else if (deed === 'turn') await turn();
    else if (deed === 'fail') return body.fail(new Error('the line broke'));
    else if (deed === 'end') return body.end();
  }
}

/** The iterator without what spares promises. */
const slowly = <T>(source: AsyncIterable<T>): AsyncIterable<T> => ({
  [Symbol.asyncIterator]() {
    const iterator = source[Symbol.asyncIterator]();
    return { next: () => iterator.next() };
  },
});

/** Looks at each event, and takes the end for one that has lost nothing but its terminator. */
const observer = (): StreamObserver => ({
  notable: (_text, from) => from,
  opens: () => false,
  see: (event) => (event.data.includes('"3"') ? { drop: true } : {}),
  whole: () => false,
  end: () => ({ missing: 'data: [DONE]\n\n', events: [] }),
});

/** The bytes of a stream, and how it ended. */
async function read(deeds: readonly Deed[], way: (body: PulledBody) => AsyncIterable<CompletionEvent>) {
  let text = '';
  const body = new PulledBody(quietSource);
  const acting = act(body, deeds);
  const end = await forEachOf(way(body), (event) => {
    if (event.type === 'wire') text += Buffer.from(event.bytes).toString();
    return undefined;
  }).then(
    () => 'ended',
    (error: unknown) => String(error),
  );
  await acting;
  return { text, end };
}

test('a body read where it is there tells what it tells when asked for each piece, and how it ended', async () => {
  await fc.assert(
    fc.asyncProperty(deeds, async (deeds) => {
      const passed = (body: AsyncIterable<Uint8Array>) => watched(passThroughSse(body, observer()), () => {});
      const expected = await read(deeds, (body) => slowly(passed(slowly(body))));
      expect(await read(deeds, passed)).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});

test('a wait for a body ends when it is left, and resolves without a word when it breaks', async () => {
  const left = new PulledBody(quietSource);
  const waited = left.wait();
  await left.return();
  await waited;
  expect([left.wait(), left.ready()]).toEqual([undefined, { value: undefined, done: true }]);

  const broken = new PulledBody(quietSource);
  const news = broken.wait();
  broken.fail(new Error('the line broke'));
  await news;
  expect([broken.ready(), broken.wait()]).toEqual([undefined, undefined]);
  await expect(broken.next()).rejects.toThrow('the line broke');
});
