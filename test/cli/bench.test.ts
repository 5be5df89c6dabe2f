import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { runLoad } from '../../src/cli/bench/load.ts';
import { asciiBars, svgPlot } from '../../src/cli/bench/plot.ts';
import { quantiles, type Sample, summarise } from '../../src/cli/bench/sample.ts';
import { openaiServer } from './openai-server.ts';
import { tidegate } from './run-cli.ts';

const home = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const sample = (more: Partial<Sample> = {}): Sample => ({
  ...{ startedMs: 0, endedMs: 1000, ttftMs: 100, gapsMs: [300, 300, 300], outputTokens: 4 },
  ...{ promptTokens: 10, cachedTokens: 0, counted: false, error: undefined, ...more },
});

describe('the summary of a run', () => {
  test('of nothing has no latencies and divides by nothing', () => {
    expect(summarise([], 0, { ttftMs: 1 })).toMatchObject({
      ...{ requests: 0, completed: 0, requestsPerSecond: 0, outputTokensPerSecond: 0 },
      ...{ ttftMs: undefined, tpotMs: undefined, goodput: { requestsPerSecond: 0, share: 0 } },
    });
  });

  test('counts failures apart from latencies and against goodput', () => {
    const failed = sample({ error: '429', ttftMs: undefined, endedMs: 9000, outputTokens: 0 });
    const summary = summarise([sample(), sample({ ttftMs: 500, endedMs: 1400 }), failed], 2000, { ttftMs: 200 });
    expect(summary).toMatchObject({ requests: 3, completed: 2, errors: { 429: 1 }, requestsPerSecond: 1 });
    expect(summary.outputTokensPerSecond).toBe(4);
    expect(summary.ttftMs).toMatchObject({ p50: 300, max: 500 });
    expect(summary.tpotMs?.p50).toBe(300);
    expect(summary.goodput).toEqual({ requestsPerSecond: 0.5, share: 1 / 3 });
  });

  test('an answer of one token has no time per token and meets such an objective', () => {
    const one = sample({ outputTokens: 1, gapsMs: [], endedMs: 100 });
    expect(summarise([one], 1000, { tpotMs: 1 })).toMatchObject({
      tpotMs: undefined,
      itlMs: undefined,
      goodput: { share: 1 },
    });
  });

  test.each([
    { values: [5], p50: 5, p99: 5 },
    { values: [1, 2, 3, 4], p50: 2.5, p99: 3.97 },
    { values: [3, 1, 2], p50: 2, p99: 2.98 },
  ])('quantiles of $values', ({ values, p50, p99 }) => {
    const result = quantiles(values);
    expect(result?.p50).toBeCloseTo(p50);
    expect(result?.p99).toBeCloseTo(p99);
  });
});

describe('the load', () => {
  const never = new AbortController().signal;
  const send = (ms: number) => (_: number) => new Promise<Sample>((done) => setTimeout(() => done(sample()), ms));

  test('a closed loop never has more under way than callers', async () => {
    const run = await runLoad({ concurrency: 3, requests: 10 }, { send: send(5), signal: never });
    expect([run.samples.length, run.mostInFlight]).toEqual([10, 3]);
  });

  test('fewer requests than callers are all that is sent', async () => {
    const run = await runLoad({ concurrency: 8, requests: 2 }, { send: send(5), signal: never });
    expect([run.samples.length, run.mostInFlight]).toEqual([2, 2]);
  });

  test('no request at all is an empty run', async () => {
    expect((await runLoad({ concurrency: 4, requests: 0 }, { send: send(5), signal: never })).samples).toEqual([]);
  });

  test('an open loop sends on its own clock, however slow the answers', async () => {
    const run = await runLoad({ concurrency: 1, rate: 200, requests: 20 }, { send: send(300), signal: never });
    expect(run.samples).toHaveLength(20);
    expect(run.mostInFlight).toBeGreaterThan(10);
  });

  test('the time limit stops handing out and waits for what runs', async () => {
    const run = await runLoad({ concurrency: 2, requests: 1e6, durationMs: 100 }, { send: send(30), signal: never });
    expect(run.samples.length).toBeGreaterThanOrEqual(4);
    expect(run.wallMs).toBeLessThan(1000);
  });

  test('an interrupt keeps what is done and drops what it cut', async () => {
    const stop = new AbortController();
    const cut = async (index: number, signal: AbortSignal) => {
      if (index < 2) return sample();
      await new Promise((done) => signal.addEventListener('abort', done));
      return sample({ error: 'cancelled' });
    };
    setTimeout(() => stop.abort(), 50);
    expect((await runLoad({ concurrency: 1, requests: 9 }, { send: cut, signal: stop.signal })).samples).toHaveLength(
      2,
    );
  });
});

describe('plots', () => {
  test('bars are scaled to the largest, and nothing is no failure', () => {
    expect(
      asciiBars(
        [
          { label: '1', value: 1, text: 'a' },
          { label: '10', value: 4, text: 'b' },
        ],
        4,
      ),
    ).toBe('   1 █ a\n  10 ████ b');
    expect(asciiBars([{ label: '1', value: 0, text: '0' }])).toBe('  1  0');
    expect(asciiBars([])).toBe('');
  });

  test('the picture is well-formed for one level, for failures and for hostile names', () => {
    const levels = [
      { x: 1, summary: summarise([], 0, undefined) },
      { x: 2, summary: summarise([sample()], 500, undefined) },
    ];
    for (const some of [levels, levels.slice(0, 1), []]) {
      const svg = svgPlot('<a> & "b"', 'callers', some);
      expect(svg).toContain('&lt;a&gt; &amp; &quot;b&quot;');
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});

describe('tidegate bench', () => {
  async function bench(args: readonly string[], options: Parameters<typeof openaiServer>[0] = {}) {
    const server = await openaiServer(options);
    open.push(server.close);
    const run = await tidegate(['bench', '--url', server.url, ...args], { env: { HOME: home }, cwd: home });
    return { ...run, asked: server.asked };
  }

  test('measures every level and writes figures with their conditions, and a plot', async () => {
    const args = ['--concurrency', '1,2', '--requests', '6', '--ttft', '10s', '-o', 'r.json', '--svg', 'r.svg', 'beta'];
    const run = await bench(args, { firstMs: 40, gapMs: 10 });
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/CALLERS +OK +FAILED.*GOODPUT/);
    const result = JSON.parse(readFileSync(join(home, 'r.json'), 'utf8')) as { levels: { ttftMs: { p50: number } }[] };
    expect(result).toMatchObject({ model: 'beta', machine: { node: process.version }, conditions: { requests: 6 } });
    expect(result.levels).toMatchObject([
      { load: 1, completed: 6, outputTokens: 18, goodput: { share: 1 } },
      { load: 2, completed: 6, outputTokens: 18, goodput: { share: 1 } },
    ]);
    expect(result.levels[0]?.ttftMs.p50).toBeGreaterThanOrEqual(40);
    expect(readFileSync(join(home, 'r.svg'), 'utf8')).toMatch(/^<svg[\s\S]*<\/svg>\n$/);
    expect(new Set(run.asked.map(({ messages }) => messages[0]?.content)).size).toBe(13); // warm-up included: no two alike
  });

  test('failures are counted by their kind and told, and do not stop the run', async () => {
    const answer = (_: unknown, count: number) =>
      count % 2 === 0 ? { status: 429, message: 'slow down' } : ['a', 'b'];
    const run = await bench(['--concurrency', '1', '--requests', '4', '--warmup', '0', '--json'], { answer });
    const { levels } = JSON.parse(run.stdout) as { levels: unknown[] };
    expect(levels).toMatchObject([{ requests: 4, completed: 2, errors: { 429: 2 } }]);
    expect(run.code).toBe(0);
  });

  test('a server that answers nothing well ends with 1', async () => {
    const run = await bench(['--concurrency', '2', '--requests', '2'], {
      answer: () => ({ status: 500, message: 'x' }),
    });
    expect(run.stdout).toMatch(/failed: 500/);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/no request was answered/) });
  });

  test('Ctrl-C shows what there is so far and ends with 130', async () => {
    const server = await openaiServer({ gapMs: 20 });
    open.push(server.close);
    const run = await tidegate(['bench', '--url', server.url, '--concurrency', '1', '--requests', '100000'], {
      env: { HOME: home },
      onOutput: (text, child) => text.includes('1 at once') && setTimeout(() => child.kill('SIGINT'), 500),
    });
    expect(run.stdout).toMatch(/CALLERS/);
    expect(run.code).toBe(130);
  });

  test('prompts come from a file of lines or of JSON lines', async () => {
    writeFileSync(
      join(home, 'p.txt'),
      'one\n\ntwo\n{"prompt":"three","top_p":0.5}\n{"messages":[{"role":"user","content":"four"}]}\n',
    );
    const run = await bench(['--prompts', 'p.txt', '--concurrency', '1', '--requests', '4', '--warmup', '0']);
    expect(run.asked.map(({ messages }) => messages[0]?.content)).toEqual(['one', 'two', 'three', 'four']);
    expect(run.asked[2]?.['top_p']).toBe(0.5);
    writeFileSync(join(home, 'bad.txt'), '{"nothing":1}\n');
    expect((await bench(['--prompts', 'bad.txt'])).stderr).toMatch(/bad\.txt, line 1/);
  });

  test.each([
    ['--concurrency', '0'],
    ['--concurrency', '1.5'],
    ['--rate', 'x'],
    ['--ttft', 'soon'],
    ['--requests', '-1'],
  ])('bench %s %s is wrongly called', async (...args) => {
    expect((await bench(args)).code).toBe(2);
  });
});
