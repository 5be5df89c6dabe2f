import { GatewayError } from '../core/errors.ts';

/**
 * Asks `first`; if it has not answered after `afterMs`, `second` too (which may decline: undefined). The first answer
 * wins and the other is cancelled, also when it comes in at the same moment. Throws first's error when none answers.
 */
export async function hedged<T>(
  first: (signal: AbortSignal) => Promise<T>,
  second: (signal: AbortSignal) => Promise<T> | undefined,
  afterMs: number,
  discard: (loser: T, reason: GatewayError) => void,
): Promise<T> {
  const lost = new GatewayError('cancelled', 'Another target was quicker.');
  const controllers = [new AbortController(), new AbortController()] as const;
  return new Promise<T>((resolve, reject) => {
    let winner: 0 | 1 | undefined;
    let running = 1;
    let firstError: unknown;
    const enter = (index: 0 | 1, promise: Promise<T>) =>
      promise.then(
        (value) => {
          if (winner !== undefined) {
            discard(value, lost);
            return;
          }
          winner = index;
          clearTimeout(timer);
          controllers[index === 0 ? 1 : 0].abort(lost);
          resolve(value);
        },
        (error: unknown) => {
          running -= 1;
          if (index === 0) firstError = error;
          else firstError ??= error;
          // A failure before the timer is for the retry rules to judge, not for the hedge.
          if (winner === undefined && running === 0) {
            clearTimeout(timer);
            reject(firstError);
          }
        },
      );
    const timer = setTimeout(() => {
      const other = second(controllers[1].signal);
      if (!other) return;
      running += 1;
      void enter(1, other);
    }, afterMs);
    void enter(0, first(controllers[0].signal));
  });
}
