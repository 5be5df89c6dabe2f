/** Redis or Valkey, as far as our stores need it: one command, one answer. Rejects at once while the server is away. */
export interface Redis {
  send(command: readonly string[]): Promise<unknown>;
  close(): Promise<void>;
}

/** A script that the server keeps: sent by its hash, and whole where the server does not know it (any more). */
export function redisScript(
  redis: Redis,
  source: string,
): (keys: readonly string[], args: readonly string[]) => Promise<unknown> {
  let hash: string | undefined;
  return async (keys, args) => {
    const rest = [String(keys.length), ...keys, ...args];
    if (hash !== undefined) {
      try {
        return await redis.send(['EVALSHA', hash, ...rest]);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      }
    }
    hash = String(await redis.send(['SCRIPT', 'LOAD', source]));
    return redis.send(['EVALSHA', hash, ...rest]);
  };
}
