import { EventSourceParserStream } from 'eventsource-parser/stream';
import OpenAI from 'openai';

/** The key lives in this tab only, and goes with it. */
const keyName = 'tidegate.key';
export const savedKey = (): string => sessionStorage.getItem(keyName) ?? '';
export const saveKey = (key: string): void => {
  if (key) sessionStorage.setItem(keyName, key);
  else sessionStorage.removeItem(keyName);
};

export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const headers = (): Record<string, string> => (savedKey() ? { authorization: `Bearer ${savedKey()}` } : {});

async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { ...init, headers: { ...headers(), ...init.headers } });
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => undefined);
  const message = (body as { error?: { message?: string } } | undefined)?.error?.message; // our own envelope
  throw new ApiError(response.status, message ?? `The gateway answered ${response.status}.`);
}

/** Answers are our own gateway's, so their shape is trusted. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await send(path, signal ? { signal } : {})).json() as Promise<T>;
}

export async function post<T>(path: string, body: object, method = 'POST'): Promise<T> {
  const response = await send(path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json() as Promise<T>;
}

/** Reads JSON lines as they come. */
export async function* lines<T>(path: string, body: object, signal: AbortSignal): AsyncGenerator<T> {
  const response = await send(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
  let rest = '';
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
    const parts = (rest + piece.value).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part) yield JSON.parse(part) as T;
  }
}

/** Server-sent events with our key in the header, which EventSource cannot send. Begins again when it breaks. */
export function events(
  path: string,
  on: (name: string, data: unknown) => void,
  state: (up: boolean) => void,
): () => void {
  const left = new AbortController();
  const run = async () => {
    while (!left.signal.aborted) {
      try {
        const response = await send(path, { signal: left.signal });
        const reader = response.body
          ?.pipeThrough(new TextDecoderStream())
          .pipeThrough(new EventSourceParserStream())
          .getReader();
        state(true);
        for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
          on(next.value.event ?? 'message', JSON.parse(next.value.data));
        }
      } catch (error) {
        if (error instanceof ApiError && (error.status === 401 || error.status === 403)) break;
      }
      state(false);
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  };
  void run();
  return () => left.abort();
}

/** OpenAI's own client, talking to this gateway. */
export const openai = (): OpenAI =>
  new OpenAI({
    baseURL: `${location.origin}/v1`,
    apiKey: savedKey() || 'none',
    maxRetries: 0,
    dangerouslyAllowBrowser: true, // the key is the user's own, typed into this very page
  });

export const publicModels = async (): Promise<readonly string[]> =>
  (await get<{ data: { id: string }[] }>('/v1/models')).data.map(({ id }) => id);
