import type { D1Like } from '../ledger/d1.ts';

/** The part of a KV namespace that is used. */
export interface KvNamespace {
  get(key: string): Promise<string | null>;
  put(key: string, value: string, options?: { expirationTtl: number }): Promise<void>;
}

/** The part of a Durable Object namespace that is used. */
export interface ObjectNamespace {
  idFromName(name: string): unknown;
  get(id: unknown): { fetch(request: string | Request, init?: RequestInit): Promise<Response> };
}

/** Everything wrangler.toml may bind. All of it is optional: what is missing is kept in the isolate, or not at all. */
export interface EdgeBindings {
  /** The configuration as YAML. `TIDEGATE_KV` may hold a newer one under `config`. */
  readonly TIDEGATE_CONFIG?: string;
  readonly TIDEGATE_KV?: KvNamespace;
  readonly TIDEGATE_DB?: D1Like;
  readonly TIDEGATE_STATE?: ObjectNamespace;
  readonly TIDEGATE_STREAMS?: ObjectNamespace;
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

/** Messages that nobody waits for: they leave together when a request ends, within its own `waitUntil`. */
export interface Outbox {
  post<T>(name: string, message: object): Promise<T>;
  /** Sends what has gathered; never rejects. */
  flush(): Promise<void>;
}

export function createOutbox(namespace: ObjectNamespace): Outbox {
  interface Letter {
    readonly name: string;
    readonly message: object;
    readonly resolve: (answer: unknown) => void;
    readonly reject: (error: unknown) => void;
  }
  let letters: Letter[] = [];
  return {
    post: <T>(name: string, message: object) =>
      new Promise<T>((resolve, reject) => {
        letters.push({ name, message, resolve: (answer) => resolve(answer as T), reject }); // as `tell`
      }),
    async flush() {
      const sent = letters;
      letters = [];
      const names = [...new Set(sent.map(({ name }) => name))];
      await Promise.all(
        names.map(async (to) => {
          const mine = sent.filter(({ name }) => name === to);
          try {
            const messages = mine.map(({ message }) => message);
            const answers = await tell<readonly unknown[]>(namespace, to, { kind: 'all', messages });
            for (const [i, { resolve }] of mine.entries()) resolve(answers[i]);
          } catch (error) {
            for (const { reject } of mine) reject(error);
          }
        }),
      );
    },
  };
}
