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
