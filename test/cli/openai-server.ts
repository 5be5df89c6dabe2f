import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly model: string;
  readonly messages: { role: string; content: string }[];
  readonly [field: string]: unknown;
}

export interface ServerOptions {
  /** The pieces of an answer to a request; `status` answers with an error instead. */
  readonly answer?: (
    asked: Asked,
    count: number,
  ) => readonly string[] | { readonly status: number; readonly message: string };
  readonly models?: readonly string[];
  readonly key?: string;
  /** Milliseconds before the first piece and between pieces. */
  readonly firstMs?: number;
  readonly gapMs?: number;
}

/** A small OpenAI-compatible server on loopback with scripted answers; keeps what it was asked. */
export async function openaiServer(options: ServerOptions = {}) {
  const { answer = () => ['Hel', 'lo', '!'], models = ['alpha', 'beta'], key, firstMs = 0, gapMs = 0 } = options;
  const asked: Asked[] = [];
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const server = createServer(async (request, response): Promise<unknown> => {
    const json = (body: unknown, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (key && request.headers.authorization !== `Bearer ${key}`) {
      return json({ error: { message: 'no', type: 'invalid_request_error', code: 'invalid_api_key' } }, 401);
    }
    if (request.url === '/v1/models')
      return json({ object: 'list', data: models.map((id) => ({ id, object: 'model' })) });
    const body = JSON.parse(await textOf(request)) as Asked; // sent by our own client
    asked.push(body);
    const pieces = answer(body, asked.length);
    if (!Array.isArray(pieces)) {
      const { status, message } = pieces as { status: number; message: string }; // the other half of the union
      return json({ error: { message, type: 'invalid_request_error' } }, status);
    }
    const chunk = (part: object) =>
      response.write(
        `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: body.model, choices: [], ...part })}\n\n`,
      );
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    await wait(firstMs);
    for (const content of pieces) {
      chunk({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
      await wait(gapMs);
    }
    chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    const usage = { prompt_tokens: 7, completion_tokens: pieces.length, total_tokens: 7 + pieces.length };
    chunk({ usage });
    return response.end('data: [DONE]\n\n');
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo; // listening on TCP
  return {
    asked,
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request) text += piece;
  return text;
}
