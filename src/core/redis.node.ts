import type { Redis } from './redis.ts';

/** So long a command may take; and so often, and at least so often, something is heard of a server that is well. */
const answerMs = 1000;
const pingMs = 1000;
const silenceMs = 3000;

/**
 * A connection to `redis://…` that comes back by itself. Commands fail at once while it is away, or while one has had no
 * answer in time: a request must not wait for a store it can do without.
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
      socketTimeout: silenceMs, // nothing is written to a silent server, so that its connection ends, and is made anew
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
  let silent = false;
  // The client's own time limit is for commands that are not sent yet.
  const send = async (command: readonly string[]): Promise<unknown> => {
    if (silent) throw noAnswer();
    const answer: Promise<unknown> = client.sendCommand([...command]);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        silent = true;
        turn(false, noAnswer());
        const heard = () => {
          silent = false;
          if (client.isReady) turn(true);
        };
        answer.then(heard, heard);
        reject(noAnswer());
      }, answerMs);
    });
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  };
  return {
    send,
    async close() {
      client.destroy();
    },
  };
}

const noAnswer = () => new Error('Redis does not answer.');
