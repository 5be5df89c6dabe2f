import { GatewayError } from '../core/errors.ts';

/** Knows every answer under way, so that a process or an old configuration can end without cutting one. */
export interface Drain {
  /** Counts an answer in until the returned function is called. Throws unavailable when closed. */
  enter(abort: (reason: GatewayError) => void): () => void;
  readonly open: number;
  /** No new answers; resolves when all have ended, or when those left at `limitMs` were told to. Gives how many were cut. */
  close(limitMs: number): Promise<number>;
  /** Resolves when all that are open now have ended. */
  settled(): Promise<void>;
}

export function createDrain(): Drain {
  const open = new Set<{ abort: (reason: GatewayError) => void; ended: Promise<void> }>();
  let closed = false;
  const settled = async () => {
    await Promise.all([...open].map(({ ended }) => ended));
  };
  const shutdown = () =>
    new GatewayError('unavailable', 'The gateway is shutting down; send the request again.', { retryAfterMs: 1000 });
  return {
    enter(abort) {
      if (closed) throw shutdown();
      let end = () => {};
      const entry = { abort, ended: new Promise<void>((resolve) => (end = resolve)) };
      open.add(entry);
      return () => {
        open.delete(entry);
        end();
      };
    },
    get open() {
      return open.size;
    },
    async close(limitMs) {
      closed = true;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const limit = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, limitMs);
      });
      await Promise.race([settled(), limit]);
      clearTimeout(timer);
      const cut = open.size;
      for (const { abort } of open) abort(shutdown());
      await Promise.race([settled(), new Promise((resolve) => setTimeout(resolve, 250))]);
      return cut;
    },
    settled,
  };
}
