import { type Idempotency, noIdempotency } from './cache/idempotency.ts';
import type { ResponseCache } from './cache/through.ts';
import { GatewayError, toGatewayError } from './core/errors.ts';
import type { CallOptions } from './core/provider.ts';
import { type ChatRequest, plainRequest } from './core/request.ts';
import type { Route, Routing, Target } from './core/route.ts';
import type { RequestContext, Run } from './core/run.ts';
import type { Again, Filters } from './filters/index.ts';
import type { Recorder } from './observability/record.ts';
import type { Policy } from './policy/admit.ts';
import type { Prompts } from './prompts/render.ts';

/** The stages of a request's way; each is one room of src/, built by a composition root. */
export interface GatewayDeps {
  readonly policy: Policy;
  readonly prompts: Prompts;
  readonly routing: Routing;
  readonly filters: Filters;
  readonly cache: ResponseCache;
  /** Absent: an Idempotency-Key means nothing. */
  readonly idempotency?: Idempotency;
  readonly record: Recorder;
}

export interface Gateway {
  /** Resolves when the answer has begun (its first event is there); throws GatewayError when none will. */
  stream(request: ChatRequest, context: RequestContext): Promise<Run>;
  /** A call that is answered as a whole: embeddings, rerank, tokens. `use` picks the provider's method. */
  call<T>(call: WholeCall<T>, context: RequestContext): Promise<WholeAnswer<T>>;
  /** Public models that this caller may use. */
  models(context: RequestContext): readonly Route[];
  /** One of them; throws model_not_found, also for a name the caller may not use. */
  model(name: string, context: RequestContext): Route;
}

export interface WholeCall<T> {
  readonly model: string;
  /** Tokens that it will cost, for limits; an estimate where not known. Absent: none. */
  readonly tokens?: number;
  /** What it holds, as a request that filters can read. Absent: nothing. */
  readonly holds?: ChatRequest;
  /** Undefined where the target is not able to. `held`: what filters left of `holds`. */
  use(target: Target, options: CallOptions, held: ChatRequest): Promise<T> | undefined;
  /** What is answered where no target is able to; absent: that is an error. */
  otherwise?(): T;
  /** Tokens that it did cost. Absent: none. */
  spent?(value: T): number;
}

export interface WholeAnswer<T> {
  /** Empty where no target had to be asked. */
  readonly target: string;
  readonly value: T;
  /** `x-ratelimit-…`, as for a stream. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The whole product in one function: the way of a request. Cache inside, filters outside. */
export function createGateway({
  policy,
  prompts,
  routing,
  filters,
  cache,
  record,
  idempotency = noIdempotency,
}: GatewayDeps): Gateway {
  const named = (asked: ChatRequest): ChatRequest => {
    const model = routing.nameOf(asked.model);
    return model === asked.model ? asked : { ...asked, model };
  };
  return {
    stream: (given, context) => {
      const asked = named(given);
      return record.stream(asked, context, (timed, revise) =>
        idempotency.through(asked, context, async (asked, context) => {
          const wanted = routing.find(asked.model); // throws model_not_found
          const prompting = prompts.render(asked, wanted); // throws invalid_request, naming the variable
          const prompted = prompting instanceof Promise ? await prompting : prompting;
          const admitting = timed('admission', () => policy.admit(prompted, wanted, context)); // throws forbidden | rate_limited | budget_exceeded
          const admitted = admitting instanceof Promise ? await admitting : admitting; // mostly nobody has to wait
          const { route } = admitted; // another than wanted where a budget says so
          try {
            const filtering = timed('input-filters', () => filters.apply(admitted.request, route, context)); // throws content_blocked
            const filtered = filtering instanceof Promise ? await filtering : filtering;
            revise(filtered.request);
            const { failed } = filtered;
            const running = cache.through(filtered.request, route, context, (request, signal) =>
              routing.attempt(route, request, signal === context.signal ? context : { ...context, signal }),
            );
            const run = await (failed ? running.catch(failed) : running);
            // A filter may want another answer; what it refused is not kept, and its target is asked last.
            const again: Again = async (change) => {
              const other = { ...context, avoid: [run.target] };
              const running = routing.attempt(route, { ...filtered.request, ...change }, other);
              return (await (failed ? running.catch(failed) : running)).events;
            };
            const events = admitted.meter(filtered.output(run.events, again), run);
            const template = prompted.promptTemplate;
            return {
              target: run.target,
              attempts: run.attempts,
              cache: run.cache,
              headers: isEmpty(admitted.headers) ? run.headers : { ...run.headers, ...admitted.headers },
              events,
              given: run.given,
              decisions: () => [...(filtered.decisions?.() ?? []), ...(run.decisions?.() ?? [])],
              holdback: filtered.holdback,
              prompt: template && { id: template.id, version: template.version ?? '' },
              spent: () => admitted.spent?.(),
            };
          } catch (error) {
            admitted.release();
            throw error;
          }
        }),
      );
    },
    call: ({ model, holds, use, otherwise, tokens = 0, spent = () => 0 }, context) =>
      record.call(routing.nameOf(model), context, async () => {
        const route = routing.find(model);
        const admitted = await policy.admitTokens(tokens, route, context);
        try {
          const filtered = await filters.apply(holds ?? plainRequest(model), route, context); // throws content_blocked
          const { request: held, decisions } = filtered;
          const called = routing.call(route, context, (target, options) => use(target, options, held), held.labels);
          const answer = await called.catch((error: unknown) => {
            if (otherwise && toGatewayError(error).kind === 'unsupported') return { target: '', value: otherwise() };
            throw error;
          });
          const usage = { promptTokens: spent(answer.value), completionTokens: 0 };
          admitted.settle(usage.promptTokens, answer.target);
          return { ...answer, usage, headers: admitted.headers, decisions: decisions?.() };
        } catch (error) {
          if (toGatewayError(error).kind === 'unsupported') admitted.release();
          else admitted.settle(0);
          throw error;
        }
      }),
    models: (context) => routing.routes().filter((route) => policy.mayUse(route, context.caller)),
    model(name, context) {
      const route = routing.find(name);
      if (policy.mayUse(route, context.caller)) return route;
      throw new GatewayError('model_not_found', `The model '${name.slice(0, 200)}' does not exist.`, {
        param: 'model',
      });
    },
  };
}

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}
