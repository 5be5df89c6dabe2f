import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tidegate } from './run-cli.ts';

let folder: string;
let upstream: Server;
let upstreamUrl = '';
let received = 0;
const answer = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-workers-'));
  upstream = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      received++;
      // Long enough that a drain has something to wait for.
      setTimeout(() => response.writeHead(200, { 'content-type': 'application/json' }).end(answer), 150);
    });
  });
  await new Promise<void>((resolve) => void upstream.listen(0, '127.0.0.1', resolve));
  const address = upstream.address();
  upstreamUrl = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/v1`;
});
afterAll(async () => {
  upstream.close();
  await rm(folder, { recursive: true, force: true });
});

async function configured(more = '', target = 'provider: up, model: m'): Promise<string> {
  const file = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
  const provider = `providers: { up: { type: openai-compatible, baseUrl: "${upstreamUrl}", apiKey: x } }`;
  await writeFile(file, `${provider}\nmodels: { m: { targets: [{ ${target} }] } }\n${more}\n`);
  return file;
}

const ask = async (url: string) => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    signal: AbortSignal.timeout(30_000),
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] }),
  });
  return response.ok ? ((await response.json()) as { choices: { message: { content: string } }[] }) : response.status;
};

const processesOf = async (url: string) =>
  (await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text()).match(
    /^tidegate_build_info\{.*\} (\d+)$/m,
  )?.[1];
const childrenOf = async (pid: number | undefined) =>
  (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').map(Number);

test('two workers share a port, one scrape counts for both, a killed one is replaced, and a drain loses no answer', {
  timeout: 120_000,
}, async () => {
  const file = await configured();
  let acted: Promise<void> | undefined;
  const run = await tidegate(['serve', '--config', file, '--port', '0', '--workers', '2'], {
    cwd: folder,
    onOutput: (text, child) => {
      const url = /serves (http:\/\/[\d.]+:\d+)\/v1/.exec(text)?.[1];
      if (!url || acted) return;
      acted = (async () => {
        // Both are up when a scrape adds up two processes.
        const processes = () => processesOf(url);
        await expect.poll(processes, { timeout: 60_000, interval: 200 }).toBe('2');
        const answers = await Promise.all(Array.from({ length: 12 }, () => ask(url)));
        expect(answers.every((each) => typeof each === 'object')).toBe(true);
        const total = async () =>
          (await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text()).match(
            /^tidegate_requests_total\{[^}]*outcome="ok"[^}]*\} (\d+)$/m,
          )?.[1];
        await expect.poll(total, { timeout: 20_000 }).toBe('12');
        const pids = () => childrenOf(child.pid);
        if (process.platform === 'linux') {
          const before = await pids();
          process.kill(before[0] ?? 0, 'SIGKILL');
          await expect
            .poll(async () => (await pids()).some((pid) => !before.includes(pid)), { timeout: 20_000 })
            .toBe(true);
          await expect.poll(processes, { timeout: 60_000, interval: 200 }).toBe('2');
        }
        const before = received;
        const last = ask(url);
        await expect.poll(() => received, { timeout: 20_000, interval: 5 }).toBeGreaterThan(before); // it is under way
        child.kill('SIGTERM');
        expect(await last).toMatchObject({ choices: [{ message: { content: 'hi' } }] });
      })();
      acted.catch(() => child.kill('SIGKILL'));
    },
  });
  await acted;
  expect(run.code, run.stderr).toBe(0);
});

test.runIf(process.platform === 'linux')(
  'a connection that was on its way to a worker that died is answered by the other one',
  { timeout: 120_000 },
  async () => {
    const file = await configured();
    let acted: Promise<void> | undefined;
    const run = await tidegate(['serve', '--config', file, '--port', '0', '--workers', '2'], {
      cwd: folder,
      onOutput: (text, child) => {
        const url = /serves (http:\/\/[\d.]+:\d+)\/v1/.exec(text)?.[1];
        if (!url || acted) return;
        acted = (async () => {
          await expect.poll(() => processesOf(url), { timeout: 60_000, interval: 200 }).toBe('2');
          const [first = 0] = await childrenOf(child.pid);
          process.kill(first, 'SIGSTOP'); // it takes nothing, but what is given to it counts as given
          const before = received;
          const asked = Array.from({ length: 4 }, () => ask(url));
          try {
            await expect.poll(() => received, { timeout: 20_000 }).toBe(before + 3);
          } finally {
            process.kill(first, 'SIGKILL');
          }
          for (const each of await Promise.all(asked)) expect(each).toMatchObject({ choices: [{}] });
          child.kill('SIGTERM');
        })();
        acted.catch(() => child.kill('SIGKILL'));
      },
    });
    await acted;
    expect(run.code, run.stderr).toBe(0);
  },
);

test.each([
  { name: 'a local model', more: '', target: 'local: smollm2', says: /own copy of a local model/ },
  {
    name: 'limits without a shared store',
    more: 'limits: { perKey: { requestsPerMinute: 5 } }',
    says: /limits\.store/,
  },
])('workers with $name are refused with what to do instead', { timeout: 60_000 }, async ({ more, target, says }) => {
  const file = await configured(more, target);
  const run = await tidegate(['serve', '--config', file, '--port', '0', '--workers', '2'], { cwd: folder });
  expect(run.code).toBe(2);
  expect(run.stderr).toMatch(says);
});
