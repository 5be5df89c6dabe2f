import type { CompletionEvent } from '../core/event.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { Decision, RequestContext } from '../core/run.ts';

/** Input and output filters of routes. */
export interface Filters {
  /** Runs the route's input filters. Throws content_blocked. A request whose answer must be read comes back `readable`. */
  apply(request: ChatRequest, route: Route, context: RequestContext): Promise<Filtered>;
}

export interface Filtered {
  readonly request: ChatRequest;
  /** The answer's filters, made for this one request. */
  output(events: AsyncIterable<CompletionEvent>): AsyncIterable<CompletionEvent>;
  /** What the filters did so far, on the way in and out; for the request's record. */
  readonly decisions?: () => readonly Decision[];
}

export const noFilters: Filters = {
  apply: async (request) => ({ request, output: (events) => events }),
};
