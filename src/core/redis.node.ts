import type { Redis } from './redis.ts';

/** A server of which nothing is heard for so long, though commands wait for it, hangs. */
const answerMs = 1000;
const pingMs = 1000;
/** A connection without a byte in either direction for so long ends, and is made anew. */
const silenceMs = 3000;

/**
 * A connection to `redis://…` that comes back by itself. Commands fail at once while it is away or hangs: a request must
 * not wait for a store it can do without.
 */
export async function connectRedis(
  url: string,
  onState: (up: boolean, error?: unknown) => void = () => {},
): Promise<Redis> {
  const { createClient } = await import('redis').catch((cause: unknown) => {
    throw new Error('redis:// addresses need the optional package redis: npm install redis', { cause });
  });
  const client = createClient({
    url,
    disableOfflineQueue: true,
    pingInterval: pingMs,
    socket: {
      connectTimeout: 3000,
      socketTimeout: silenceMs, // nothing is written to a server that hangs
      reconnectStrategy: (tries) => Math.min(50 * 2 ** tries, 2000),
    },
  });
  let up: boolean | undefined;
  const turn = (next: boolean, error?: unknown) => {
    if (next === up) return;
    up = next;
    onState(next, error);
  };
  client.on('error', (error) => turn(false, error));
  client.on('ready', () => turn(true));
  // Resolves late or never where the server is away at the start; the gateway starts all the same.
  await Promise.race([client.connect().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 3000).unref())]);
  // The client's own time limit is for commands that are not sent yet.
  const waiting = new Set<(error: Error) => void>();
  let heardMs = 0;
  let silent = false;
  let timer: NodeJS.Timeout | undefined;
  const isLate = () => waiting.size > 0 && performance.now() - heardMs >= answerMs;
  const look = () => {
    timer = setTimeout(
      () => {
        timer = undefined;
        if (!isLate()) return waiting.size > 0 ? look() : undefined;
        // A process that was busy has to read first what has come meanwhile.
        setImmediate(() => (isLate() ? giveUp() : look()));
      },
      heardMs + answerMs - performance.now(),
    ).unref();
  };
  const giveUp = () => {
    silent = true;
    turn(false, noAnswer());
    for (const reject of waiting) reject(noAnswer());
    waiting.clear();
  };
  const heard = () => {
    heardMs = performance.now();
    if (!silent) return;
    silent = false;
    if (client.isReady) turn(true);
  };
  const send = (command: readonly string[]): Promise<unknown> => {
    if (silent) return Promise.reject(noAnswer());
    return new Promise((resolve, reject) => {
      if (waiting.size === 0) heardMs = performance.now();
      waiting.add(reject);
      if (!timer) look();
      const settled = () => {
        waiting.delete(reject);
        heard();
      };
      client
        .sendCommand([...command])
        .finally(settled)
        .then(resolve, reject);
    });
  };
  return {
    send,
    async close() {
      client.destroy();
    },
  };
}

const noAnswer = () => new Error('Redis does not answer.');
