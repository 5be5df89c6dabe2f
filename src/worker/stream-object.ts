import type { EdgeBindings } from '../edge/bindings.ts';
import type { ObjectState } from '../edge/storage.ts';
import type { StreamLogs } from '../http/stream-log.ts';
import { type KeptStreamLogs, keptStreamLogs } from './stream-logs.ts';

/** Answers one request inside an object: `answerId` names the answer, `logs` holds its events. */
export type ServeStream = (
  request: Request,
  env: EdgeBindings,
  parts: { readonly answerId: string; readonly logs: StreamLogs; readonly waitUntil: ObjectState['waitUntil'] },
) => Promise<Response>;

/** How the worker tells the object which answer it is; a client's own header of this name never arrives. */
export const answerHeader = 'x-tidegate-answer';

/** An alarm's handler may run for fifteen minutes. */
const watchMs = 14 * 60_000;

/**
 * A Durable Object that makes one answer which outlives its reader: a resumable stream, a background response. The
 * request that asked for it and all that come back for it are answered here, by the gateway itself, so the generation
 * goes on without a listener (for as long as http/resume.ts lets it) and every isolate finds the same events.
 */
export function createStreamObject(serve: ServeStream) {
  return class TidegateStream {
    readonly #state: ObjectState;
    readonly #env: EdgeBindings;
    #logs: KeptStreamLogs | undefined;

    constructor(state: ObjectState, env: EdgeBindings) {
      this.#state = state;
      this.#env = env;
    }

    fetch(request: Request): Promise<Response> {
      const headers = new Headers(request.headers);
      const answerId = headers.get(answerHeader) ?? '';
      headers.delete(answerHeader);
      this.#logs ??= keptStreamLogs(this.#state.storage);
      const own = new Request(request, { headers });
      const waitUntil = (work: Promise<unknown>) => this.#state.waitUntil(work);
      return serve(own, this.#env, { answerId, logs: this.#logs, waitUntil });
    }

    /** Holds the object in memory while its answer is made, and deletes everything when nobody needs it any more. */
    async alarm(): Promise<void> {
      this.#logs ??= keptStreamLogs(this.#state.storage);
      if (this.#logs.running) {
        let timer: ReturnType<typeof setTimeout> | undefined;
        const long = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, watchMs);
        });
        await Promise.race([this.#logs.ended(), long]);
        clearTimeout(timer);
      }
      const forgetAt = this.#logs.running ? Date.now() : this.#logs.forgetAt();
      if (forgetAt !== undefined && (this.#logs.running || forgetAt > Date.now())) {
        await this.#state.storage.setAlarm(forgetAt);
        return;
      }
      this.#logs = undefined;
      await this.#state.storage.deleteAlarm();
      await this.#state.storage.deleteAll();
    }
  };
}
