import { GatewayError } from '../core/errors.ts';
import { createRoster } from '../core/roster.ts';

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
  const open = createRoster<{ readonly abort: (reason: GatewayError) => void; whenEnded?: (() => void)[] }>();
  let closed = false;
  const settled = async () => {
    const endOf = (entry: { whenEnded?: (() => void)[] }) =>
      new Promise<void>((resolve) => {
        entry.whenEnded ??= [];
        entry.whenEnded.push(resolve);
      });
    await Promise.all([...open].map(endOf));
  };
  const shutdown = () =>
    new GatewayError('unavailable', 'The gateway is shutting down; send the request again.', { retryAfterMs: 1000 });
  return {
    enter(abort) {
      if (closed) throw shutdown();
      const entry: { readonly abort: typeof abort; whenEnded?: (() => void)[] } = { abort };
      const leave = open.add(entry);
      return () => {
        leave();
        for (const told of entry.whenEnded ?? []) told();
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
