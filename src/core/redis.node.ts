import type { Redis } from './redis.ts';

/**
 * A connection to `redis://…` that comes back by itself. Commands fail at once while it is away: a request must not wait
 * for a store it can do without.
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
    socket: { connectTimeout: 3000, reconnectStrategy: (tries) => Math.min(50 * 2 ** tries, 2000) },
    commandOptions: { timeout: 2000 },
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
  return {
    send: (command) => client.sendCommand([...command]),
    async close() {
      client.destroy();
    },
  };
}
