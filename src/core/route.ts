import type { CallOptions, Provider } from './provider.ts';
import type { ChatRequest, PromptReference } from './request.ts';
import type { RequestContext, Run } from './run.ts';

/** What the configuration says of one public model name, as far as shared stages read it. */
export interface Route {
  /** The public model name. */
  readonly name: string;
  /** Names under `filters:`, in order. */
  readonly filters: readonly string[];
  /** Absent: answers of this route are not kept. */
  readonly cache?: CacheRule;
  /** Prompt from the library that every request of this route is rendered into. */
  readonly prompt?: PromptReference;
}

export interface CacheRule {
  readonly ttlMs: number;
  /** Who may share an answer: holders of the same key, the same team, or everybody. */
  readonly scope: 'key' | 'team' | 'global';
  /** After the ttl: for so long a stale answer is given while a new one is fetched, or when every target fails. */
  readonly staleWhileRevalidateMs?: number;
  readonly staleIfErrorMs?: number;
  /** Cosine similarity from which an answer to another wording counts; absent: exact only. */
  readonly semanticThreshold?: number;
}

/** A provider and the name it knows the model by. */
export interface Target {
  /** `provider/model`. */
  readonly name: string;
  readonly provider: Provider;
  readonly model: string;
}

/** Model names → routes → answers. Implemented by routing/. */
export interface Routing {
  /** Throws model_not_found, with the nearest names. */
  find(model: string): Route;
  /** The public name that a request means, `model` itself where there is none: what records, limits and books are kept by. */
  nameOf(model: string): string;
  routes(): readonly Route[];
  /** Calls the route's targets until one answers; throws what the last one threw. The returned run has its first event. */
  attempt(route: Route, request: ChatRequest, context: RequestContext): Promise<Run>;
  /** The same for calls that answer as a whole (embeddings, rerank, tokenise): `use` calls one able target; `labels` as in a request. */
  call<T>(
    route: Route,
    context: RequestContext,
    use: (target: Target, options: CallOptions) => Promise<T> | undefined,
    labels?: readonly string[],
  ): Promise<{ readonly target: string; readonly value: T }>;
}
