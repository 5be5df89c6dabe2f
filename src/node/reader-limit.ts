import type { Socket } from 'node:net';

/** Sockets whose time runs because of what is written and not yet taken, with that time. */
const waiting = new WeakMap<Socket, number>();

/** Less is not told from the time between two looks at a socket. */
const leastMs = 2000;

/**
 * Gives a client so long to take something of what is written for it, also where the answer has long ended; the socket
 * then tells `timeout`. To be called once a second, for only the socket itself knows whether a long write moves on.
 */
export function limitReader(socket: Socket, limitMs: number): void {
  const waits = socket.writableLength > 0;
  const givenMs = waiting.get(socket);
  if (waits === (givenMs !== undefined)) return;
  if (waits) {
    // Unlike node:http's own limits, which must not be cleared: what rests between two requests has its limit by then.
    const ownMs = Math.max(limitMs, leastMs) + 0.5;
    waiting.set(socket, ownMs);
    socket.setTimeout(ownMs);
  } else {
    waiting.delete(socket);
    if (socket.timeout === givenMs) socket.setTimeout(0);
  }
}
