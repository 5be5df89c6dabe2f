import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createByteLog } from '../../src/core/byte-log.ts';

test('a byte log gives back all that came, or nothing once more came than it keeps', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 12 }), fc.nat(20_000), (pieces, maxBytes) => {
      const log = createByteLog(maxBytes);
      for (const piece of pieces) {
        log.push(piece.slice());
      }
      const all = pieces.flatMap((piece) => [...piece]);
      expect(log.overflowed).toBe(all.length > maxBytes);
      expect([...log.bytes()]).toEqual(log.overflowed ? [] : all);
    }),
  );
});

test('logs share pages: one that is under way keeps its bytes while others end and begin, and one that has ended gives none', () => {
  const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);
  const kept = createByteLog(100_000);
  kept.push(bytes(10, 1));
  kept.push(bytes(9000, 2));
  const other = createByteLog(100_000);
  other.push(bytes(5000, 3));
  other.push(bytes(5000, 4));
  const read = other.bytes();
  other.release();
  other.push(bytes(5000, 5));
  const third = createByteLog(100_000);
  third.push(bytes(5000, 6));
  third.push(bytes(5000, 7));
  expect(read).toEqual(new Uint8Array([...bytes(5000, 3), ...bytes(5000, 4)]));
  expect(other.bytes()).toHaveLength(0);
  expect(kept.bytes()).toEqual(new Uint8Array([...bytes(10, 1), ...bytes(9000, 2)]));
  expect(third.bytes()).toEqual(new Uint8Array([...bytes(5000, 6), ...bytes(5000, 7)]));
});

test('a log that overflows gives its pages back once', () => {
  const small = createByteLog(9000);
  small.push(new Uint8Array(4000));
  small.push(new Uint8Array(4000));
  small.push(new Uint8Array(4000));
  small.release();
  const [a, b] = [createByteLog(9000), createByteLog(9000)];
  for (const [log, value] of [
    [a, 1],
    [b, 2],
  ] as const) {
    log.push(new Uint8Array(4000).fill(value));
    log.push(new Uint8Array(4000).fill(value));
  }
  expect(a.bytes()).toEqual(new Uint8Array(8000).fill(1));
  expect(b.bytes()).toEqual(new Uint8Array(8000).fill(2));
});
