import type { Socket } from 'node:net';
import { buildConnector } from 'undici';

/** The answers that slow readers have paused; each can be let on for a moment, by what its socket holds at most. */
export type PausedAnswers = Set<{ letOn(): void }>;

/**
 * undici's own connector, with a guard against a crash of undici 7 (nodejs/undici#5360): when the peer closes a
 * connection that cannot be kept alive while a slow reader has paused its answer, an assertion in the socket's handler
 * ends the process. Our handlers are the first on the socket and let the parser go on before undici's own look at it.
 */
export function guardedConnector(
  options: Omit<buildConnector.BuildOptions, 'port'>,
  paused: PausedAnswers,
): buildConnector.connector {
  const connect = buildConnector(options as buildConnector.BuildOptions); // the port comes with each target
  return (target, callback) =>
    connect(target, (...result) => {
      const [error, socket] = result;
      if (error === null) guard(socket, paused);
      callback(...result);
    });
}

function guard(socket: Socket, paused: PausedAnswers): void {
  socket.on('end', () => {
    for (const answer of paused) answer.letOn(); // undici does not tell whose socket this is
  });
  for (const event of ['error', 'close'] as const) {
    socket.on(event, () => {
      const parser = parserOf(socket);
      if (parser) parser.paused = false; // a socket that is gone cannot be resumed
    });
  }
}

/** undici's parser of this socket while it is paused; what it is gets checked, since it is not public. */
function parserOf(socket: Socket): { paused: boolean } | undefined {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'parser');
  const parser: unknown = key && Reflect.get(socket, key);
  if (typeof parser !== 'object' || parser === null) return undefined;
  return 'paused' in parser && parser.paused === true ? (parser as { paused: boolean }) : undefined; // just seen
}
