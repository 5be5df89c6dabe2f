import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { openaiServer } from './openai-server.ts';
import { tidegate } from './run-cli.ts';

const home = mkdtempSync(join(tmpdir(), 'tidegate-home-'));
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function server(options: Parameters<typeof openaiServer>[0] = {}) {
  const one = await openaiServer(options);
  open.push(one.close);
  return one;
}
const env = (more: Record<string, string> = {}) => ({ HOME: home, ...more });

test('run streams the answer to standard output and figures to standard error', async () => {
  const { url, asked } = await server();
  const args = [
    'run',
    '--url',
    url,
    '--verbose',
    '--temperature',
    '0',
    '--seed',
    '7',
    '--system',
    'Be brief.',
    'beta',
    'Say',
    'hi',
  ];
  const run = await tidegate(args, { env: env() });
  expect(run).toMatchObject({ code: 0, stdout: 'Hello!\n' });
  expect(run.stderr).toMatch(/prompt 7 tokens · answer 3 tokens · first token .* · total .* · finish stop/);
  expect(asked[0]).toMatchObject({
    ...{ model: 'beta', temperature: 0, seed: 7, stream: true },
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Say hi' },
    ],
  });
});

test('run adds what is piped in to the prompt', async () => {
  const { url, asked } = await server();
  await tidegate(['run', '--url', url, 'alpha', 'Summarise:'], { env: env(), input: 'line one\nline two\n' });
  expect(asked[0]?.messages).toEqual([{ role: 'user', content: 'Summarise:\n\nline one\nline two' }]);
});

test('run prints one JSON object where asked', async () => {
  const { url } = await server();
  const run = await tidegate(['run', '--url', url, '--json-output', 'alpha', 'x'], { env: env() });
  expect(JSON.parse(run.stdout)).toMatchObject({
    model: 'alpha',
    text: 'Hello!',
    promptTokens: 7,
    finishReason: 'stop',
  });
});

test('an answer cannot send control characters to the terminal', async () => {
  const { url } = await server({ answer: () => ['a\x1b]0;title\x07', 'b\x1b[2J\u009bc\r\n\td'] });
  const run = await tidegate(['run', '--url', url, 'alpha', 'x'], { env: env() });
  expect(run.stdout).toBe('a]0;titleb[2Jc\n\td\n');
});

const failures = [
  { name: 'nothing to answer', args: ['alpha'], code: 2, says: /give a prompt/ },
  { name: 'an unknown model', args: ['alpa', 'x'], code: 1, says: /no model "alpa".*Did you mean alpha/ },
  { name: 'a wrong number', args: ['-t', 'hot', 'alpha', 'x'], code: 2, says: /A number from 0 to 2/ },
];
test.each(failures)('run with $name ends with $code and says why', async ({ args, code, says }) => {
  const { url } = await server();
  const run = await tidegate(['run', '--url', url, ...args], { env: env() });
  expect(run.stderr).toMatch(says);
  expect(run).toMatchObject({ code, stdout: '' });
});

test('a server that wants a key, refuses, or is not there is told apart', async () => {
  const { url } = await server({ key: 'sk-right' });
  const without = await tidegate(['run', '--url', url, 'alpha', 'x'], { env: env() });
  expect(without.stderr).toMatch(/wants a key: set TIDEGATE_API_KEY/);
  const wrong = await tidegate(['run', '--url', url, 'alpha', 'x'], { env: env({ OPENAI_API_KEY: 'sk-wrong' }) });
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringMatching(/does not know the key in OPENAI_API_KEY/) });
  const withKey = await tidegate(['run', 'alpha', 'x'], {
    env: env({ TIDEGATE_API_KEY: 'sk-right', TIDEGATE_URL: url }),
  });
  expect(withKey.stdout).toBe('Hello!\n');
  const refusing = await server({ answer: () => ({ status: 400, message: 'too long' }) });
  const refused = await tidegate(['run', '--url', refusing.url, 'alpha', 'x'], { env: env() });
  expect(refused.stderr).toMatch(/too long/);
  const absent = await tidegate(['run', '--url', 'http://127.0.0.1:1', 'alpha', 'x'], { env: env() });
  expect(absent.stderr).toMatch(/cannot be reached.*tidegate serve/);
  expect([without.code, refused.code, absent.code]).toEqual([1, 1, 1]);
});

test('Ctrl-C during an answer ends run with 130', async () => {
  const { url } = await server({ answer: () => Array(1000).fill('x '), gapMs: 20 });
  const run = await tidegate(['run', '--url', url, 'alpha', 'x'], {
    env: env(),
    onOutput: (text, child) => text.includes('x x') && !child.killed && child.kill('SIGINT'), // a second might meet it at its end
  });
  expect(run.code).toBe(130);
});

test('Ctrl-C ends run also while it waits for the end of what is piped in', async () => {
  const { url } = await server();
  const run = await tidegate(['run', '--url', url, 'alpha', 'x'], {
    env: env(),
    input: 'more than a pipe holds '.repeat(50_000),
    onRead: (child) => child.kill('SIGINT'),
  });
  expect(run.code).toBe(130);
});

test('chat remembers the conversation and its commands change it', async () => {
  const { url, asked } = await server({ answer: (_, count) => [`answer ${count}`] });
  const file = join(home, 'saved.json');
  const input = [
    'first',
    'second\\',
    'goes on',
    '/undo',
    '/system Be kind.',
    '/set temperature 0.5',
    '/model beta',
    'third',
    '/retry',
    '"""many',
    'lines"""',
    `/save ${file}`,
    '/clear',
    'fresh',
    '/exit',
    'never sent',
  ].join('\n');
  const run = await tidegate(['chat', '--url', url], { env: env(), input });
  expect(run.code).toBe(0);
  expect(asked.map(({ messages }) => messages.map(({ content }) => content))).toEqual([
    ['first'],
    ['first', 'answer 1', 'second\ngoes on'],
    ['Be kind.', 'first', 'answer 1', 'third'],
    ['Be kind.', 'first', 'answer 1', 'third'],
    ['Be kind.', 'first', 'answer 1', 'third', 'answer 4', 'many\nlines'],
    ['Be kind.', 'fresh'],
  ]);
  expect(asked.map(({ model, temperature }) => [model, temperature])).toEqual([
    ['alpha', undefined],
    ['alpha', undefined],
    ...Array(4).fill(['beta', 0.5]),
  ]);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ model: 'beta', system: 'Be kind.' });
  expect(run.stdout).toContain('answer 6');
});

test('chat goes on after a wrong command and after a failed answer, and loads what was saved', async () => {
  const { url, asked } = await server({
    answer: (_, count) => (count === 1 ? { status: 500, message: 'broken' } : ['fine']),
  });
  const file = join(home, 'load.json');
  writeFileSync(
    file,
    JSON.stringify({
      messages: [
        { role: 'user', content: 'old' },
        { role: 'assistant', content: 'ok' },
      ],
    }),
  );
  const input = [
    'fails',
    '/sistem x',
    '/model gamma',
    '/set heat 2',
    '/load none.json',
    `/load ${file}`,
    'new',
    '/stats',
  ].join('\n');
  const run = await tidegate(['chat', '--url', url, 'beta'], { env: env(), input });
  expect(run.stderr).toMatch(
    /broken.*Did you mean \/system.*No model "gamma".*temperature \| top_p.*none\.json: there is no such file/s,
  );
  expect(asked.at(-1)?.messages.map(({ content }) => content)).toEqual(['old', 'ok', 'new']);
  expect(run.stdout).toMatch(/prompt 7 tokens/);
  expect(run.code).toBe(0);
});
