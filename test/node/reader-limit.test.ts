import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { limitReader } from '../../src/node/reader-limit.ts';

/** As much of a socket as is looked at. */
function socketWith(writableLength: number) {
  return {
    writableLength,
    timeout: 0,
    setTimeout(ms: number) {
      this.timeout = ms;
    },
  } as { -readonly [K in keyof Socket]: Socket[K] };
}

test('a client that has read everything has no limit left, also where another one was configured meanwhile', () => {
  const socket = socketWith(1);
  limitReader(socket, 5000);
  expect(socket.timeout).toBeCloseTo(5000, -1);
  socket.writableLength = 0;
  limitReader(socket, 9000);
  expect(socket.timeout).toBe(0);
});

test('a limit that node:http has set in between is left alone', () => {
  const socket = socketWith(1);
  limitReader(socket, 5000);
  socket.setTimeout(72_000);
  socket.writableLength = 0;
  limitReader(socket, 5000);
  expect(socket.timeout).toBe(72_000);
});
