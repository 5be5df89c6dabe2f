import type { D1Like } from '../ledger/d1.ts';

/** The part of a KV namespace that is used. */
export interface KvNamespace {
  get(key: string): Promise<string | null>;
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>;
}

/** The part of a Durable Object namespace that is used. */
export interface ObjectNamespace {
  idFromName(name: string): unknown;
  get(id: unknown): { fetch(url: string, init?: RequestInit): Promise<Response> };
}

/** Everything wrangler.toml may bind. All of it is optional: what is missing is kept in the isolate, or not at all. */
export interface EdgeBindings {
  /** The configuration as YAML. `TIDEGATE_KV` may hold a newer one under `config`. */
  readonly TIDEGATE_CONFIG?: string;
  readonly TIDEGATE_KV?: KvNamespace;
  readonly TIDEGATE_DB?: D1Like;
  readonly TIDEGATE_STATE?: ObjectNamespace;
  readonly AI?: unknown;
  /** Secrets and variables by name. */
  readonly [name: string]: unknown;
}

/** Lets work go on after the answer: `ctx.waitUntil` of the request at hand. */
export type After = (work: Promise<unknown>) => void;

/** Sends one message to a named object and gives its answer. */
export async function tell<T>(namespace: ObjectNamespace, name: string, message: object): Promise<T> {
  const stub = namespace.get(namespace.idFromName(name));
  const response = await stub.fetch('https://object/', { method: 'POST', body: JSON.stringify(message) });
  if (!response.ok) throw new Error(`The state object answered ${response.status}.`);
  return (await response.json()) as T; // written by the object of this same bundle
}
