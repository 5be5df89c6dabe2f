import type { CompletionEvent } from '../core/event.ts';
import type { Holdback } from '../core/run.ts';
import { watched } from '../core/through.ts';

export interface HoldbackMeter {
  /** The answer on its way into the filters. */
  enter(events: AsyncIterable<CompletionEvent>): AsyncIterable<CompletionEvent>;
  /** The same answer on its way out of them. */
  leave(events: AsyncIterable<CompletionEvent>): AsyncIterable<CompletionEvent>;
  /** Undefined where nothing was withheld. */
  held(): Holdback | undefined;
}

/** Measures how long text had come and filters had given nothing out for it: while a match was alive, or a check ran. */
export function createHoldbackMeter(now: () => number): HoldbackMeter {
  let sinceMs: number | undefined;
  let firstMs = 0;
  let durationMs = 0;
  let longestMs = 0;
  return {
    enter: (events) =>
      watched(events, ({ type }) => {
        if (sinceMs === undefined && type !== 'start' && type !== 'progress') sinceMs = now();
      }),
    leave: (events) =>
      watched(events, () => {
        if (sinceMs === undefined) return;
        const waited = now() - sinceMs;
        if (durationMs === 0) firstMs = sinceMs;
        durationMs += waited;
        longestMs = Math.max(longestMs, waited);
        sinceMs = undefined;
      }),
    held: () => (durationMs >= worthTelling ? { startedMs: firstMs, durationMs, longestMs } : undefined),
  };
}

/** Milliseconds; below that it is the filters' own work. */
const worthTelling = 1;
