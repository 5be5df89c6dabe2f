import OpenAI from 'openai';
import { createSseDecoder } from '../../src/wire/sse.ts';
import type { appWith } from '../app.ts';

type App = Pick<ReturnType<typeof appWith>, 'request'>;

export const post = (app: App, path: string, body: object, headers: Record<string, string> = {}) =>
  app.request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

// biome-ignore lint/suspicious/noExplicitAny: answers are what the test looks into
export type Answer = any;

/** The named events of an SSE body; their name must be the `type` inside. */
export async function events(response: Response): Promise<Answer[]> {
  const decoded = createSseDecoder().push(new Uint8Array(await response.arrayBuffer()));
  return decoded.map(({ event, data }) => {
    const json = JSON.parse(data);
    if (event !== json.type) throw new Error(`event ${event} holds ${json.type}`);
    return json;
  });
}

export const lines = async (response: Response): Promise<Answer[]> =>
  (await response.text())
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

/** The official SDK over an app without sockets. */
export const sdkOf = (app: App) =>
  new OpenAI({
    apiKey: 'none',
    baseURL: 'http://localhost/v1',
    maxRetries: 0,
    fetch: (async (url: string, init?: RequestInit) => app.request(url, init)) as typeof fetch, // fetch without a socket
  });
