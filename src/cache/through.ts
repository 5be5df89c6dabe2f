import type { ChatRequest } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { RequestContext, Run } from '../core/run.ts';

/** Stored answers, and one generation for many equal requests. */
export interface ResponseCache {
  /**
   * The stored run, or `produce`'s, kept while it passes. Keeps what the provider said, before filters. `produce` gets
   * the request to send, in a form that can be kept, and the signal to obey: the caller's own, or one that aborts when
   * the last of several readers has left.
   */
  through(
    request: ChatRequest,
    route: Route,
    context: RequestContext,
    produce: (request: ChatRequest, signal: AbortSignal) => Promise<Run>,
  ): Promise<Run>;
}

export const noCache: ResponseCache = {
  through: (request, _route, context, produce) => produce(request, context.signal),
};
