import type { Live } from '../../observability/live.ts';
import { sseHeaders } from '../../wire/sse.ts';
import { adminEndpoint } from '../admin.ts';
import type { RouteEntry } from '../app.ts';
import type { HttpDeps } from '../env.ts';

/** `/admin/live`: what is going on, once a second over SSE; the first event holds the minutes before. */
export function liveRoutes(deps: HttpDeps, live: Live): readonly RouteEntry[] {
  const stream = adminEndpoint(deps, async (_c, { sink, headers, context }) => {
    sink.start(200, { ...headers, ...sseHeaders });
    void sink.write(`event: history\ndata: ${JSON.stringify(live.points())}\n\n`);
    await new Promise<void>((resolve) => {
      let busy = false;
      const stop = live.subscribe((snapshot) => {
        if (sink.gone || deps.active.closing) return finish();
        if (busy) return; // a slow reader misses seconds, it does not pile them up
        const slow = sink.write(`event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n`);
        if (!slow) return;
        busy = true;
        void slow.then(() => {
          busy = false;
        });
      });
      const finish = () => {
        stop();
        context.signal.removeEventListener('abort', finish);
        resolve();
      };
      context.signal.addEventListener('abort', finish, { once: true });
      if (context.signal.aborted) finish();
    });
    sink.end();
  });
  const once = adminEndpoint(deps, async (_c, { json }) =>
    json({ ...live.snapshot(), points: live.points(), budgets: live.budgets() }),
  );
  return [
    ['GET', '/admin/live', stream],
    ['GET', '/admin/status', once],
  ];
}
