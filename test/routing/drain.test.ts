import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tidegate } from '../cli/run-cli.ts';
import { chatAnswer, chunk, done, type FaultyUpstream, faultyUpstream, finishChunk, sse } from '../faulty-upstream.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-drain-'));
let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(({ json }) => {
    const asked = JSON.stringify(json.messages);
    const begun = sse(chunk({ role: 'assistant', content: 'begun' }));
    if (asked.includes('quick')) return json.stream ? chatAnswer(['hi']) : chatAnswer(['hi']);
    if (asked.includes('ends'))
      return { body: [begun, { wait: 600 }, sse(chunk({ content: ' ended' }), finishChunk()), done] };
    return { body: [begun, 'stall'] };
  });
  writeFileSync(
    join(folder, 'tidegate.yaml'),
    `server: { drain: 2s }\nproviders: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }\nmodels: { m: { targets: [{ provider: up }] } }\nledger: { url: "file:${join(folder, 'ledger.db')}" }\n`,
  );
});
afterAll(async () => {
  await upstream.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A real process with this configuration; `act` gets its address and what sends it signals. */
async function serving(act: (url: string, kill: (signal: NodeJS.Signals) => void) => Promise<void>) {
  let acted: Promise<void> | undefined;
  const run = await tidegate(['serve', '--port', '0', '--no-pull', '--json', '--log', 'error'], {
    cwd: folder,
    onOutput(text, child) {
      const url = /serves (http:\/\/[\d.]+:\d+)\/v1/.exec(text)?.[1];
      if (!url || acted) return;
      acted = act(url, (signal) => child.kill(signal)).catch((error: unknown) => {
        child.kill('SIGKILL');
        throw error;
      });
    },
  });
  await acted;
  return run;
}

const post = (url: string, path: string, body: object) =>
  fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', stream: true, ...body }),
  });
const messages = (content: string) => ({ messages: [{ role: 'user', content }] });

/** The stream's first piece is there: it runs. */
async function running(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader(); // a stream has a body
  const utf8 = new TextDecoder();
  let text = '';
  while (!text.includes('begun')) text += utf8.decode((await reader.read()).value, { stream: true });
  const rest = async () => {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) text += utf8.decode(piece.value);
    return text;
  };
  return { rest: rest() };
}

const dialects = [
  {
    name: 'chat',
    path: '/v1/chat/completions',
    body: messages('stays'),
    error: /data: \{"error":\{.*shutting_down/,
    end: '[DONE]',
  },
  {
    name: 'Responses',
    path: '/v1/responses',
    body: { input: 'stays' },
    error: /event: error\n.*shutting_down[\s\S]*response\.failed/,
    end: 'response.completed',
  },
  {
    name: 'Anthropic',
    path: '/v1/messages',
    body: { max_tokens: 9, ...messages('stays') },
    error: /event: error\ndata: \{"type":"error","error":\{"type":"overloaded_error"/,
    end: 'message_stop',
  },
  {
    name: 'Ollama',
    path: '/api/chat',
    body: messages('stays'),
    error: /\n\{"error":".*shutting down.*"\}\n$/,
    end: '"done":true',
  },
];

describe('SIGTERM', () => {
  test('takes nothing new, lets what ends in time end, breaks the rest in its own dialect, and exits with 0', async () => {
    let signalledMs = 0;
    const texts: string[] = [];
    let ended = '';
    let whole: { status: number; retryAfter: string | null; error: unknown } | undefined;
    let refused: unknown;
    const idle = new Agent({ keepAlive: true });
    let idleClosed = false;
    const run = await serving(async (url, kill) => {
      await new Promise<void>((resolve, reject) => {
        const asked = request(`${url}/health`, { agent: idle }, (response) => {
          response.resume().on('end', resolve);
        });
        asked.on('socket', (socket) => socket.on('close', () => (idleClosed = true)));
        asked.on('error', reject).end();
      });
      const ends = await running(await post(url, '/v1/chat/completions', messages('ends')));
      const stays = await Promise.all(dialects.map(async ({ path, body }) => running(await post(url, path, body))));
      const waiting = post(url, '/v1/chat/completions', { ...messages('stays'), stream: false });
      await upstream.received(dialects.length + 2);
      signalledMs = performance.now();
      kill('SIGTERM');
      kill('SIGTERM'); // as npm and the terminal both send it: one and the same
      await expect.poll(() => idleClosed, { timeout: 1500 }).toBe(true);
      refused = await post(url, '/v1/chat/completions', messages('quick')).then(
        ({ status }) => status,
        (error: Error) => (error.cause as NodeJS.ErrnoException).code, // undici's
      );
      ended = await ends.rest;
      texts.push(...(await Promise.all(stays.map(({ rest }) => rest))));
      const response = await waiting;
      const body = (await response.json()) as { error: unknown };
      whole = { status: response.status, retryAfter: response.headers.get('retry-after'), error: body.error };
    });
    idle.destroy();
    expect(run.code).toBe(0);
    expect(performance.now() - signalledMs).toBeLessThan(8000);
    expect(refused).toBe('ECONNREFUSED');
    expect(ended).toMatch(/begun.* ended.*\[DONE\]/s);
    for (const [index, { error, end }] of dialects.entries()) {
      expect(texts[index]).toMatch(error ?? /./);
      expect(texts[index]).not.toContain(end);
    }
    expect(whole).toMatchObject({ status: 503, retryAfter: '1', error: { code: 'shutting_down' } });
  }, 60_000);

  test('a second time, later, ends the process at once', async () => {
    let secondMs = 0;
    const run = await serving(async (url, kill) => {
      const stays = await running(await post(url, '/v1/chat/completions', messages('stays')));
      stays.rest.catch(() => {}); // cut
      kill('SIGTERM');
      await new Promise((resolve) => setTimeout(resolve, 400));
      secondMs = performance.now();
      kill('SIGTERM');
    });
    expect(run.code).toBe(143);
    expect(performance.now() - secondMs).toBeLessThan(1500);
  }, 60_000);
});
