import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CallOptions } from '../core/provider.ts';
import { type ChatRequest, plainRequest } from '../core/request.ts';
import type { Target } from '../core/route.ts';
import type { RequestContext } from '../core/run.ts';
import { abortError, withDeadline } from '../core/signals.ts';
import { upstreamHeaders } from '../core/trace.ts';
import { blame } from './call.ts';
import { limitsOf, type Timeouts } from './model.ts';
import type { TargetState } from './state.ts';

/** One call that answers as a whole, within the route's first-token deadline. Undefined where the target can't. */
export async function callOnce<T>(
  target: Target,
  state: TargetState,
  timeouts: Timeouts,
  context: RequestContext,
  use: (target: Target, options: CallOptions) => Promise<T> | undefined,
  clock: Clock,
): Promise<{ value: T } | undefined> {
  const deadline = withDeadline(context.signal, limitsOf(timeouts, target).firstTokenMs, target.name);
  try {
    const startedMs = clock.now();
    if (!state.breaker.take(startedMs)) {
      throw new GatewayError('unavailable', `${target.name} is out of service.`);
    }
    const pending = use(target, {
      signal: deadline.signal,
      tenant: context.caller.tenant,
      headers: upstreamHeaders(context, 0),
    });
    if (!pending) {
      state.breaker.neutral();
      return undefined;
    }
    state.inFlight += 1;
    try {
      const value = await pending;
      state.breaker.success(clock.now());
      return { value };
    } catch (error) {
      const failure = deadline.signal.aborted ? abortError(deadline.signal) : toGatewayError(error);
      blame(state, failure, false, clock.now(), startedMs);
      throw failure;
    } finally {
      state.inFlight -= 1;
    }
  } finally {
    deadline.clear();
  }
}

/** What a plan looks at where there is no chat: of its content only what filters found in it. */
export const wholeCall = (model: string, labels?: readonly string[]): ChatRequest => ({
  ...plainRequest(model),
  stream: false,
  ...(labels && { labels }),
});
