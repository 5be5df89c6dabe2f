import { encodeError } from '../../wire/openai/errors.ts';
import { endpoint } from '../endpoint.ts';
import type { HttpDeps } from '../env.ts';

/** What readiness depends on: each part with its state. */
export interface Health {
  readonly ready: boolean;
  readonly parts: Readonly<Record<string, string>>;
}

/** Alive as long as it answers at all. */
export const live = (deps: HttpDeps) =>
  endpoint(deps, encodeError, async (_c, { json }) => json({ status: 'ok' }), { authenticated: false });

/** 503 while draining or while a part that every request needs is gone. */
export const ready = (deps: HttpDeps, health: () => Health) =>
  endpoint(
    deps,
    encodeError,
    async (_c, { json }) => {
      const { ready, parts } = health();
      json({ status: ready ? 'ready' : 'unavailable', parts }, ready ? 200 : 503);
    },
    { authenticated: false },
  );
