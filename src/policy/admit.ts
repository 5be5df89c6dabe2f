import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent, Usage } from '../core/event.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { Caller, RequestContext, Run } from '../core/run.ts';

/** Who may ask for what, and how much of it. */
export interface Policy {
  /**
   * Rejects with unauthorized; no promise where nothing has to be looked up. Headers are lower-case; `asked` is what a
   * signed request has to be signed for.
   */
  authenticate(headers: Readonly<Record<string, string>>, asked?: AskedFor): Caller | Promise<Caller>;
  /**
   * Counts and reserves before anything is spent. Throws forbidden | rate_limited | budget_exceeded. No promise where
   * nothing is counted.
   */
  admit(request: ChatRequest, route: Route, context: RequestContext): Admission | Promise<Admission>;
  /** The same for calls that answer as a whole. */
  admitTokens(tokens: number, route: Route, context: RequestContext): Promise<TokenAdmission>;
  mayUse(route: Route, caller: Caller): boolean;
  /** True while everybody is let in. */
  open(): Promise<boolean>;
}

/** The request line; read late, because only signed requests need it. */
export interface AskedFor {
  readonly method: string;
  /** Absolute, with its query. */
  readonly url: string;
}

export interface Admission {
  readonly request: ChatRequest;
  /** The route to take: the one asked for, or a cheaper one where a budget's policy says so. */
  readonly route: Route;
  /** `x-ratelimit-…`, as OpenAI sends them. */
  readonly headers: Readonly<Record<string, string>>;
  /** Passes the events on, cuts them at a limit's edge, and settles the reservation when they end, whichever way. */
  meter(events: AsyncIterable<CompletionEvent>, run: Run): AsyncIterable<CompletionEvent>;
  /** What the answer used as far as counted here: for the books, where a stream broke before telling. */
  spent?(): Usage | undefined;
  /** Gives the reservation back when no answer began. */
  release(): void;
}

export interface TokenAdmission {
  readonly headers: Readonly<Record<string, string>>;
  /** `target`: who answered. */
  settle(tokens: number, target?: string): void;
  /** Gives all of it back, the request too: nobody was asked. */
  release(): void;
}

/** The policy of a gateway without keys and limits: everybody is `caller`. */
export function openPolicy(caller: Caller): Policy {
  const mayUse = (route: Route, who: Caller) => !who.models || who.models.includes(route.name);
  const check = (route: Route, who: Caller) => {
    if (!mayUse(route, who)) {
      throw new GatewayError('forbidden', `This key may not use the model '${route.name}'.`, { param: 'model' });
    }
  };
  return {
    authenticate: async () => caller,
    async admit(request, route, context) {
      check(route, context.caller);
      return { request, route, headers: {}, meter: (events) => events, release: () => {} };
    },
    async admitTokens(_tokens, route, context) {
      check(route, context.caller);
      return { headers: {}, settle: () => {}, release: () => {} };
    },
    mayUse,
    open: async () => true,
  };
}
