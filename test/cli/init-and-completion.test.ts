import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { tidegate } from './run-cli.ts';

const home = mkdtempSync(join(tmpdir(), 'tidegate-init-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

test('init writes a valid configuration that names key variables and never keys', async () => {
  const env = { HOME: home, OPENAI_API_KEY: 'sk-secret-1', ANTHROPIC_API_KEY: 'sk-secret-2' };
  const run = await tidegate(['init', '--yes'], { env, cwd: home });
  expect(run.code).toBe(0);
  const text = readFileSync(join(home, 'tidegate.yaml'), 'utf8');
  expect(text).toContain('$' + '{OPENAI_API_KEY}');
  expect(text + run.stdout + run.stderr).not.toContain('sk-secret');
  const check = await tidegate(['check', '--json'], { env, cwd: home });
  expect(JSON.parse(check.stdout)).toContainEqual(
    expect.objectContaining({ what: 'config', state: 'ok', found: 'tidegate.yaml is valid' }),
  );
});

test('init leaves an existing file alone unless told', async () => {
  const file = join(home, 'kept.yaml');
  writeFileSync(file, 'server: { port: 1 }\n');
  const refused = await tidegate(['init', '--yes', '-o', file], { env: { HOME: home } });
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/--force/) });
  expect(readFileSync(file, 'utf8')).toBe('server: { port: 1 }\n');
  expect((await tidegate(['init', '--yes', '--force', '-o', file], { env: { HOME: home } })).code).toBe(0);
  expect(readFileSync(file, 'utf8')).toContain('smollm2');
});

test('what the disk refuses is told with its path and what to change', async () => {
  const taken = join(home, 'taken');
  mkdirSync(taken);
  writeFileSync(join(taken, '.tidegate'), 'a file where a folder belongs');
  for (const args of [
    ['init', '--yes'],
    ['keys', 'create', '--name', 'laptop'],
  ]) {
    const run = await tidegate(args, { env: { HOME: home }, cwd: taken });
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(/taken\/\.tidegate.*(name another place|Check ledger\.url)/);
  }
  if (existsSync('/proc/self')) {
    const run = await tidegate(['init', '--yes', '-o', '/proc/x'], { env: { HOME: home } });
    expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/\/proc\/\.tidegate: there is no such/) });
    writeFileSync(join(home, 'proc.yaml'), 'ledger: { url: "file:/proc/none/ledger.db" }');
    const keys = await tidegate(['keys', 'list', '-c', join(home, 'proc.yaml')], { env: { HOME: home } });
    expect(keys).toMatchObject({ code: 1, stderr: expect.stringMatching(/ledger at \/proc\/none/) });
    const pull = await tidegate(['pull', 'smollm2'], { env: { HOME: home, TIDEGATE_CACHE: '/proc/none' } });
    expect(pull).toMatchObject({ code: 1, stderr: expect.stringMatching(/\/proc\/none.*cannot be written/) });
  }
  const absent = await tidegate(['config', 'check', 'absent.yaml'], { env: { HOME: home }, cwd: taken });
  expect(absent.stderr).toMatch(/taken\/absent\.yaml: there is no such file/);
});

const questions = [
  { words: ['mo'], offers: ['models'] },
  { words: ['models', ''], offers: ['list', 'rm', 'path'] },
  { words: ['pull', 'smollm2-1'], offers: ['smollm2-135m-instruct', 'smollm2-1.7b-instruct'] },
  { words: ['run', '--temp'], offers: ['--temperature'] },
  { words: ['completion', ''], offers: ['bash', 'zsh', 'fish', 'powershell'] },
];
test.each(questions)('Tab after "$words" offers $offers', async ({ words, offers }) => {
  const run = await tidegate(['complete', '--', ...words], { env: { HOME: home } });
  const offered = run.stdout.split('\n').map((line) => line.split('\t')[0]);
  expect(offered).toEqual(expect.arrayContaining(offers));
  expect(run).toMatchObject({ code: 0, stderr: '' });
});

test('the bash script is one that bash accepts and registers', async (context) => {
  if (spawnSync('bash', ['--version']).status !== 0) {
    expect(process.env['CI'], 'bash must be installed in CI').toBeUndefined();
    context.skip('bash is not installed');
  }
  const { stdout } = await tidegate(['completion', 'bash'], { env: { HOME: home } });
  const script = join(home, 'completion.bash');
  writeFileSync(script, stdout);
  const said = execFileSync('bash', ['-c', `source "${script}" && complete -p tidegate`], { encoding: 'utf8' });
  expect(said).toMatch(/complete .*tidegate$/m);
});

test('an unknown shell is refused with the known ones', async () => {
  const run = await tidegate(['completion', 'tcsh'], { env: { HOME: home } });
  expect(run).toMatchObject({ code: 2, stderr: expect.stringMatching(/bash, zsh, fish, powershell/) });
});
