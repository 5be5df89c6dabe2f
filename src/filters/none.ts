import type { CompletionEvent } from '../core/event.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { Decision, Holdback, RequestContext } from '../core/run.ts';
import type { Again } from './active.ts';

/** Input and output filters of routes. */
export interface Filters {
  /**
   * Runs the route's input filters. Throws content_blocked. A request whose answer must be read comes back `readable`
   * or `legible`. No promise where there are none.
   */
  apply(request: ChatRequest, route: Route, context: RequestContext): Filtered | Promise<Filtered>;
}

export interface Filtered {
  readonly request: ChatRequest;
  /** The answer's filters, made for this one request. */
  output(events: AsyncIterable<CompletionEvent>, again?: Again): AsyncIterable<CompletionEvent>;
  /** Throws what the client is told where no answer came: an upstream's words of refusal go through the filters too. */
  readonly failed?: ((error: unknown) => never) | undefined;
  /** What the filters did so far, on the way in and out; for the request's record. */
  readonly decisions?: () => readonly Decision[];
  readonly holdback?: () => Holdback | undefined;
}

export const noFilters: Filters = {
  apply: (request) => unfiltered(request),
};

/** A request that no filter concerns; its answer goes out as it comes. */
export const unfiltered = (request: ChatRequest): Filtered => ({ request, output: asTheyCome });
const asTheyCome: Filtered['output'] = (events) => events;
