import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tidegate } from './run-cli.ts';

// The model cache of whoever runs the tests: the default model is fetched into it once.
const env = {
  HOME: homedir(),
  ...(process.env['TIDEGATE_CACHE'] ? { TIDEGATE_CACHE: process.env['TIDEGATE_CACHE'] } : {}),
};
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-serve-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const address = (text: string) => /serves (http:\/\/[\d.]+:\d+)\/v1/.exec(text)?.[1];

/** Runs `act` once the command has said its address, then interrupts it. */
function serving(args: readonly string[], act: (url: string) => Promise<void>, signal: NodeJS.Signals = 'SIGINT') {
  let acted: Promise<void> | undefined;
  return tidegate(['serve', '--port', '0', ...args], {
    env,
    cwd: folder,
    onOutput: (text, child) => {
      const url = address(text);
      if (!url || acted) return;
      acted = act(url).finally(() => child.kill(signal));
      acted.catch(() => {}); // looked at when the command has ended
    },
  }).then(async (run) => {
    expect(run.stderr + run.stdout).toMatch(/serves http/);
    await acted;
    return run;
  });
}

test('serve without a configuration streams an answer of the default model and says how to ask', {
  timeout: 300_000,
}, async () => {
  let chunks: string[] = [];
  const run = await serving([], async (url) => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'smollm2',
        stream: true,
        max_tokens: 8,
        temperature: 0,
        messages: [{ role: 'user', content: 'Say hello.' }],
      }),
    });
    chunks = (await response.text()).split('\n').filter((line) => line.startsWith('data: '));
  });
  expect(chunks.at(-1)).toBe('data: [DONE]');
  expect(chunks.length).toBeGreaterThan(4);
  expect(run.stderr).toMatch(/curl -N http:.*\/v1\/chat\/completions/);
  expect(run.stderr).toMatch(/Dashboard {2}http/);
  expect(run.code).toBe(0);
});

test('the first Ctrl-C lets a running answer end, and nothing new begins', async () => {
  const upstream = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const chunk = (content: string, finish: string | null) =>
      `data: ${JSON.stringify({ id: 'a', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
    response.write(chunk('one', null));
    setTimeout(() => response.end(`${chunk(' two', null)}${chunk('', 'stop')}data: [DONE]\n\n`), 1500);
  });
  await new Promise<void>((ready) => upstream.listen(0, '127.0.0.1', ready));
  const bound = upstream.address();
  const port = typeof bound === 'object' ? bound?.port : 0;
  await writeFile(
    join(folder, 'up.yaml'),
    `providers: { up: { type: openai-compatible, baseUrl: http://127.0.0.1:${port}/v1 } }\nmodels: { m: { targets: [{ provider: up }] } }\n`,
  );
  let answer: Promise<string> | undefined;
  const run = await serving(['--config', 'up.yaml', '--no-pull'], async (url) => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'x' }] }),
    });
    answer = response.text(); // the head is here; the interrupt comes before the rest
  });
  upstream.close();
  expect(await answer).toMatch(/one.*two.*\[DONE\]/s);
  expect(run.stderr).toMatch(/Letting running answers end/);
  expect(run.code).toBe(0);
});

test('npm start ends what it started when it is told to end', async () => {
  await writeFile(join(folder, 'npm.yaml'), 'models: { m: { targets: [{ local: smollm2-135m-instruct }] } }\n');
  const child = spawn('npm', ['start', '--', '--config', join(folder, 'npm.yaml'), '--port', '0', '--no-pull'], {
    cwd: join(import.meta.dirname, '../..'),
    env: { ...env, PATH: process.env['PATH'], NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const output of [child.stdout, child.stderr]) {
    output.on('data', (piece: Buffer) => {
      said += piece.toString();
      if (address(said)) child.kill('SIGTERM');
    });
  }
  await new Promise((closed) => child.on('close', closed)); // of its output, which the gateway holds too
  expect(said).toMatch(/Letting running answers end/);
});

test('a port in use is told with a way out', async () => {
  const taken = createServer();
  await new Promise<void>((ready) => taken.listen(0, '127.0.0.1', ready));
  const bound = taken.address();
  const port = typeof bound === 'object' ? bound?.port : 0;
  const run = await tidegate(['serve', '--no-pull', '--port', String(port)], { env, cwd: folder });
  taken.close();
  expect(run.stderr).toMatch(/taken by another process.*--port/);
  expect(run.code).toBe(1);
});

test('a model that cannot be had does not keep the others from being served', async () => {
  let listed: unknown;
  const run = await serving(['--model', 'mine=./absent.gguf'], async (url) => {
    listed = ((await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] }).data.map(({ id }) => id);
  });
  expect(run.stderr).toMatch(/no model file at .*absent\.gguf/);
  expect(listed).toEqual(expect.arrayContaining(['mine', 'smollm2']));
});

test('a model that nobody knows is refused before anything is served', async () => {
  const run = await tidegate(['serve', '--no-pull', '--port', '0', '--model', 'smolm2'], { env, cwd: folder });
  expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/No model "smolm2"\. Did you mean smollm2/) });
  expect(run.stderr).not.toMatch(/serves http/);
});

test('SIGHUP reads the file of a service again, and a wrong one ends nothing', async () => {
  const file = join(folder, 'hup.yaml');
  const serves = (name: string) =>
    writeFile(file, `models: { ${name}: { targets: [{ local: smollm2-135m-instruct }] } }\n`);
  await serves('first');
  let begun: Promise<string[]> | undefined;
  let said = '';
  const run = await tidegate(['serve', '--port', '0', '--no-pull', '--config', 'hup.yaml'], {
    env,
    cwd: folder,
    onOutput: (text, child) => {
      said = text;
      const url = address(text);
      if (!url || begun) return;
      const names = async () =>
        ((await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] }).data.map(({ id }) => id);
      const until = async (holds: () => Promise<boolean> | boolean) => {
        for (let waits = 0; waits < 400 && !(await holds()); waits++) await new Promise((done) => setTimeout(done, 25));
      };
      const act = async () => {
        await serves('second');
        child.kill('SIGHUP');
        await until(async () => (await names()).includes('second'));
        await writeFile(file, 'models: [\n');
        child.kill('SIGHUP');
        await until(() => said.includes('goes on serving'));
        return names();
      };
      begun = act().finally(() => child.kill('SIGTERM'));
      begun.catch(() => {}); // as above
    },
  });
  expect(await begun).toEqual(['second']);
  expect(run.stderr).toMatch(/hup\.yaml can't be used/);
  expect(run.code).toBe(0);
});

const wrong = [
  { args: ['--log', 'loud'], code: 2, says: /Allowed choices are trace, debug/ },
  { args: ['--port', 'many'], code: 2, says: /number from 0 to 65535/ },
  { args: ['--config', 'absent.yaml'], code: 1, says: /absent\.yaml/ },
];
test.each(wrong)('serve $args ends with $code', async ({ args, code, says }) => {
  const run = await tidegate(['serve', ...args], { env, cwd: folder });
  expect(run.stderr).toMatch(says);
  expect(run.code).toBe(code);
});
