import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import {
  chunk,
  done,
  finishChunk,
  openaiServer,
  type RecordedRequest,
  type Responder,
  sse,
} from '../faulty-upstream.ts';

export interface RealGateway extends AsyncDisposable {
  readonly gateway: RunningGateway;
  readonly folder: string;
  readonly file: string;
  /** Posts JSON; `model` is `m` if absent. */
  post(path: string, body: object, headers?: Record<string, string>): Promise<Response>;
  /** A chat request with one user message. */
  chat(content?: string, body?: object, headers?: Record<string, string>): Promise<Response>;
}

/** The gateway as `tidegate serve` starts it, from a file, on a free port. */
export async function realGateway(yaml: string, env: Record<string, string> = {}): Promise<RealGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-routing-'));
  const file = join(folder, 'tidegate.yaml');
  writeFileSync(file, yaml);
  const gateway = await startGateway({ configFile: file, port: 0, env, log: { level: 'silent' } });
  const post: RealGateway['post'] = (path, body, headers = {}) =>
    fetch(`${gateway.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: 'm', ...body }),
    });
  return {
    gateway,
    folder,
    file,
    post,
    chat: (content = 'hi', body = {}, headers = {}) =>
      post('/v1/chat/completions', { messages: [{ role: 'user', content }], ...body }, headers),
    async [Symbol.asyncDispose]() {
      await gateway.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** An OpenAI-compatible server that says its own name, after so long. */
export const says =
  (name: string, afterMs: number | (() => number) = 0): Responder =>
  async (request: RecordedRequest) => {
    const ms = typeof afterMs === 'function' ? afterMs() : afterMs;
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
    return openaiServer([name])(request);
  };

/** A stream that begins and then says nothing more. */
export const hangs = { body: [sse(chunk({ role: 'assistant', content: 'begun' })), 'stall' as const] };
/** A stream with a pause in the middle. */
export const slowly = (ms: number) => ({
  body: [
    sse(chunk({ role: 'assistant', content: 'slow' })),
    { wait: ms },
    sse(chunk({ content: ' end' }), finishChunk()),
    done,
  ],
});

export const answerOf = async (response: Response): Promise<string> => {
  const { choices } = (await response.json()) as { choices?: { message: { content: string } }[] };
  return choices?.[0]?.message.content ?? '';
};
