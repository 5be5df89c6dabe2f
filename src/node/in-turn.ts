import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** So many requests of one connection may wait; whoever sends more gets no answer to any. */
const mostWaiting = 100;

/**
 * Starts the requests of one connection one after the other. Answers leave in order, so those that a client sends at once
 * would only be work done ahead, without bound. node:http gives a response its socket when those before it have left. It
 * reads on meanwhile, whatever pauses the socket, so that only hanging up bounds what waits.
 */
export function inTurn(serve: Listener): Listener {
  const waiting = new WeakMap<Socket, number>();
  return (incoming, outgoing) => {
    if (outgoing.socket) {
      serve(incoming, outgoing);
      return;
    }
    const { socket } = incoming;
    const count = (waiting.get(socket) ?? 0) + 1;
    waiting.set(socket, count);
    if (count > mostWaiting) {
      socket.destroy();
      return;
    }
    outgoing.once('socket', () => {
      waiting.set(socket, (waiting.get(socket) ?? 1) - 1);
      serve(incoming, outgoing);
    });
  };
}
