import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEngineHost, type EngineHost } from '../../src/engine/host.ts';
import type { EngineOutput, EngineUsage, GenerateRequest } from '../../src/engine/protocol.ts';
import { writeLora } from './lora.ts';
import { modelPath } from './model.ts';

const path = await modelPath();
const base: Omit<GenerateRequest, 'prompt'> = {
  sampling: { temperature: 0 },
  maxTokens: 8,
  stop: [],
  choices: 1,
  priority: 'normal',
  tenant: 'a',
};
const text = (prompt: string, rest: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...base,
  prompt: { kind: 'text', text: prompt },
  ...rest,
});

interface Answer {
  readonly text: string;
  readonly outputs: readonly EngineOutput[];
  readonly usage: EngineUsage;
}
async function run(host: EngineHost, request: GenerateRequest, signal = new AbortController().signal): Promise<Answer> {
  const outputs: EngineOutput[] = [];
  for await (const output of host.generate(request, { signal })) outputs.push(output);
  const done = outputs.at(-1);
  if (done?.type !== 'done') throw new Error('an answer ends with its usage');
  return { text: outputs.map((o) => (o.type === 'text' ? o.text : '')).join(''), outputs, usage: done.usage };
}
const tale = (about: string) => `The tale of ${about}. ${`Long ago there lived ${about} beside a river. `.repeat(9)}`;

describe.skipIf(path === null)('an engine', () => {
  let host: EngineHost;
  beforeAll(async () => {
    host = createEngineHost({ modelPath: path ?? '', slots: 2, contextTokens: 768, threads: 1 });
    await host.load();
  });
  afterAll(() => host.close());

  test('reads a prompt that several requests share once', async () => {
    const before = host.stats()?.totalEvaluatedTokens ?? 0;
    const prompt = tale('a fox');
    const [one, two] = await Promise.all([run(host, text(`${prompt} It`)), run(host, text(`${prompt} She`))]);
    const evaluated = (host.stats()?.totalEvaluatedTokens ?? 0) - before;
    expect(evaluated).toBeLessThan(one.usage.promptTokens + 50);
    expect(two.usage.cachedTokens).toBeGreaterThan(one.usage.promptTokens - 20);
  });

  test('reads the prompt of several choices once', async () => {
    const before = host.stats()?.totalEvaluatedTokens ?? 0;
    const { usage } = await run(host, text(tale('an owl'), { choices: 4, maxTokens: 3 }));
    expect((host.stats()?.totalEvaluatedTokens ?? 0) - before).toBeLessThan(usage.promptTokens + 40);
    expect(usage.completionTokens).toBe(12);
  });

  test('keeps more conversations warm than it has slots, and apart', async () => {
    const animals = ['a bear', 'a wolf', 'a hare', 'a goat'];
    const first = [];
    for (const animal of animals) first.push(await run(host, text(`${tale(animal)} In the end`)));
    for (const [i, animal] of animals.entries()) {
      const again = await run(host, text(`${tale(animal)} In the end`));
      expect(again.usage.cachedTokens).toBeGreaterThan(again.usage.promptTokens - 20);
      expect(again.text).toBe(first[i]?.text);
    }
    expect(host.stats()?.kvMemoryBytes).toBeGreaterThan(0);
  });

  test('gives the slots of prompts that nobody waits for to the next at once', async () => {
    const leave = new AbortController();
    const long = ['a crow', 'a stag'].map((animal) => text(`${tale(animal).repeat(5)} Then`, { cachePrompt: false }));
    const left = long.map((request) => run(host, request, leave.signal).catch(() => undefined));
    const next = run(host, text('Hi', { maxTokens: 1 }));
    const stats = () => host.stats() ?? { running: 0, waiting: 0, totalEvaluatedTokens: 0 };
    await expect.poll(stats, { timeout: 20_000 }).toMatchObject({ running: 2, waiting: 1 });
    const before = stats().totalEvaluatedTokens;
    leave.abort();
    await expect.poll(() => stats().waiting, { interval: 5, timeout: 20_000 }).toBe(0);
    await Promise.all([next, ...left]);
    // What was under way, and the few tokens of the next; the two prompts have more than a thousand.
    expect(stats().totalEvaluatedTokens - before).toBeLessThan(400);
  });

  test('parks batch work for an interactive request and resumes to the same text', async () => {
    const batch = text('Once upon a time', { maxTokens: 24, priority: 'batch', sampling: { temperature: 1, seed: 5 } });
    const alone = await run(host, batch);
    const background = [run(host, batch), run(host, { ...batch, tenant: 'b' })];
    await expect.poll(() => host.stats()?.running, { interval: 5, timeout: 20_000 }).toBe(2);
    const before = host.stats()?.totalParked ?? 0;
    const urgent = await run(host, text('Quick:', { maxTokens: 2, priority: 'interactive', tenant: 'c' }));
    const resumed = await Promise.all(background);
    expect(urgent.usage.queueMs).toBeLessThan(1000);
    expect(resumed.map((answer) => answer.text)).toEqual([alone.text, alone.text]);
    await expect.poll(() => host.stats()?.totalParked).toBeGreaterThan(before);
  });

  test('speculates on the prompt to the same text in fewer steps', async () => {
    const list = 'red green blue yellow purple orange black white brown grey pink cyan ';
    const prompt = `Copy this: ${list.repeat(3)}`;
    const plain = await run(host, text(prompt, { maxTokens: 40, cachePrompt: false }));
    const before = host.stats()?.totalSteps ?? 0;
    const drafted = await run(host, text(prompt, { maxTokens: 40, cachePrompt: false, promptLookup: true }));
    expect(drafted.text).toBe(plain.text);
    expect(drafted.usage.acceptedDraftTokens).toBeGreaterThan(5);
    expect((host.stats()?.totalSteps ?? 0) - before).toBeLessThan(40);
  });

  test('drafts from a prediction of the output', async () => {
    const plain = await run(host, text('The capital of France is', { maxTokens: 24 }));
    const drafted = await run(host, text('The capital of France is', { maxTokens: 24, prediction: plain.text }));
    expect(drafted.text).toBe(plain.text);
    expect(drafted.usage.acceptedDraftTokens).toBeGreaterThan(5);
  });

  test('gives the prompt back with the log-probability of each of its tokens', async () => {
    const prompt = 'The capital of France is';
    const echoed = await run(host, text(prompt, { echo: true, maxTokens: 2, logprobs: { top: 1 } }));
    expect(echoed.text.startsWith(prompt)).toBe(true);
    const logprobs = echoed.outputs.flatMap((o) => (o.type === 'text' ? (o.logprobs ?? []) : []));
    expect(logprobs).toHaveLength(echoed.usage.promptTokens + 2);
    expect(logprobs[0]?.logprob).toBeNull(); // nothing comes before it
    expect(logprobs.slice(1).every(({ logprob }) => logprob <= 0)).toBe(true);
    const only = await run(host, text(prompt, { echo: true, maxTokens: 0 }));
    expect(only).toMatchObject({ text: prompt, usage: { completionTokens: 0 } });
  });

  test.each([
    { name: 'typical_p', sampling: { typicalP: 0.5 } },
    { name: 'top_n_sigma', sampling: { topNSigma: 1 } },
    { name: 'dynatemp_range', sampling: { dynatempRange: 0.5 } },
    { name: 'mirostat 1', sampling: { mirostat: 1 } },
    { name: 'mirostat 2', sampling: { mirostat: 2 } },
    { name: 'xtc', sampling: { xtcProbability: 1, xtcThreshold: 0.1 } },
    { name: 'dry', sampling: { dryMultiplier: 2 } },
    { name: 'repeat_penalty', sampling: { repeatPenalty: 1.5 } },
    { name: 'frequency and presence penalty', sampling: { frequencyPenalty: 1, presencePenalty: 1 } },
  ])('samples with $name, again the same for the same seed', async ({ sampling }) => {
    const request = text('My favourite place is', { sampling: { temperature: 0.9, seed: 11, ...sampling } });
    const [one, two] = [await run(host, request), await run(host, request)];
    expect(one.usage.completionTokens).toBeGreaterThan(2);
    expect(two.text).toBe(one.text);
  });

  test('holds a grammar together with a sampler of its own', async () => {
    const grammar = { gbnf: 'root ::= [0-9]{4} "-" [0-9]{2}' };
    const answer = await run(host, text('Date:', { grammar, sampling: { temperature: 1, seed: 3, mirostat: 2 } }));
    expect(answer.text).toMatch(/^\d{4}-\d\d$/);
  });

  test('switches a grammar on at its trigger', async () => {
    const prompt = 'Count: one, two, three, four, five, six, seven, eight, nine, ten. Count: one, two,';
    const free = await run(host, text(prompt));
    expect(free.text).toContain('four');
    const grammar = { gbnf: 'root ::= " STOP" [.]+', triggers: ['four,'] };
    const answer = await run(host, text(prompt, { grammar, maxTokens: 14 }));
    expect(answer.text).toMatch(/^.*four, STOP\.+$/);
  });

  test('does not end before the fewest tokens', async () => {
    const prompt = 'What is one and one?<|im_end|>\n';
    const answer = await run(host, text(prompt, { minTokens: 10, maxTokens: 10, sampling: { temperature: 0 } }));
    expect(answer.usage.completionTokens).toBe(10);
  });

  test('goes on beyond the context where that is wished', async () => {
    const small = createEngineHost({ modelPath: path ?? '', slots: 2, contextTokens: 160, threads: 1 });
    const request = text(tale('a snail'), { sampling: { temperature: 0, ignoreEos: true } });
    const [stopped, shifted] = await Promise.all([
      run(small, { ...request, maxTokens: 2000 }),
      run(small, { ...request, maxTokens: 90, overflow: 'shift' }),
    ]);
    await small.close();
    expect(stopped.usage.promptTokens + stopped.usage.completionTokens).toBe(160);
    expect(shifted.usage.completionTokens).toBe(90);
  });

  test('decodes alone where that is asked, to the same text in company', async () => {
    const request = text('Roses are red,', { deterministic: true, cachePrompt: false });
    const alone = await run(host, request);
    const [together] = await Promise.all([run(host, request), run(host, text('Violets', { maxTokens: 20 }))]);
    expect(together.text).toBe(alone.text);
  });

  test('tells that a model without those tokens cannot fill a gap', async () => {
    const request: GenerateRequest = { ...base, prompt: { kind: 'text', text: 'def f(', suffix: ')' } };
    const answer = await run(host, request).catch((error: unknown) => error);
    expect(answer).toSatisfy((value: unknown) =>
      host.model()?.fillInMiddle ? true : value instanceof Error && /cannot fill a gap/.test(value.message),
    );
  });

  test('applies adapters per request, side by side with the plain model', async () => {
    const loras = [{ name: 'odd', path: await writeLora(576, 0.5) }];
    const tuned = createEngineHost({ modelPath: path ?? '', slots: 2, contextTokens: 128, threads: 1, loras });
    const request = text('The capital of France is', { maxTokens: 10 });
    const plain = await run(tuned, request);
    const odd: GenerateRequest = { ...request, loras: [{ name: 'odd', scale: 1 }] };
    const [bent, again] = await Promise.all([run(tuned, odd), run(tuned, request)]);
    const unknown = run(tuned, { ...request, loras: [{ name: 'none', scale: 1 }] });
    await expect(unknown).rejects.toMatchObject({ kind: 'invalid_request', param: 'lora' });
    await tuned.close();
    expect(again.text).toBe(plain.text);
    expect(bent.text).not.toBe(plain.text);
    expect(bent.usage.cachedTokens).toBe(0); // KV of the plain model is of no use to it
  });

  test('keeps hot prefixes on disk across a restart', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidegate-kv-'));
    const start = () =>
      createEngineHost({
        modelPath: path ?? '',
        slots: 1,
        contextTokens: 512,
        threads: 1,
        kvCache: { memoryBytes: 2 ** 28, diskBytes: 2 ** 28, directory },
      });
    const before = start();
    const first = await run(before, text(`${tale('a mole')} And so`));
    await before.close();
    const after = start();
    const again = await run(after, text(`${tale('a mole')} And so`));
    const stranger = await run(after, text(`${tale('a mole')} And so`, { tenant: 'stranger' }));
    await after.close();
    expect(again.usage.cachedTokens).toBe(again.usage.promptTokens - 1);
    expect(again.text).toBe(first.text);
    expect(stranger.usage.cachedTokens).toBe(0);
  });

  test('tells each request its share of the energy that the machine counts', async () => {
    const powercap = await mkdtemp(join(tmpdir(), 'tidegate-powercap-'));
    await mkdir(join(powercap, 'intel-rapl:0'));
    await writeFile(join(powercap, 'intel-rapl:0', 'max_energy_range_uj'), '1000000000000');
    let microjoules = 0;
    const count = () => {
      microjoules += 20_000;
      writeFileSync(join(powercap, 'next'), String(microjoules));
      renameSync(join(powercap, 'next'), join(powercap, 'intel-rapl:0', 'energy_uj')); // never half a number
    };
    count();
    const counting = setInterval(count, 5);
    const metered = createEngineHost({ modelPath: path ?? '', slots: 2, contextTokens: 512, threads: 1, powercap });
    const answers = await Promise.all([run(metered, text('One')), run(metered, text('Two'))]);
    clearInterval(counting);
    const shares = answers.map(({ usage }) => usage.energyJoules ?? 0);
    expect(Math.min(...shares)).toBeGreaterThan(0);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(metered.stats()?.totalJoules ?? 0, 3);
    await metered.close();
  });
});

/** Bytes of memory of its own that a process may have more than it has; undefined: as much as it likes. */
function limitMemory(pid: number, more: number | undefined): void {
  const [, kilobytes = '0'] = /VmData:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  const soft = more === undefined ? 'unlimited' : Number(kilobytes) * 1024 + more;
  execFileSync('prlimit', ['--pid', String(pid), `--data=${soft}:unlimited`]);
}
const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;
if (!canLimit && process.env['CI']) throw new Error('CI needs prlimit (util-linux)');
if (!canLimit) console.warn('skipped: there is no prlimit to take memory away with');

describe.skipIf(path === null || !canLimit)('an engine without memory', () => {
  const calm = new AbortController().signal;

  test('says that a model does not fit', async () => {
    // Limits are inherited: this process takes it on while it starts the child. 3 GiB of KV cache will not do.
    const host = createEngineHost({ modelPath: path ?? '', slots: 16, contextTokens: 8192, threads: 1 });
    limitMemory(process.pid, 2 ** 30);
    const refused = host.load().then(
      () => undefined,
      (error: unknown) => error,
    );
    await expect.poll(() => host.pid(), { timeout: 60_000, interval: 1 }).toBeDefined();
    limitMemory(process.pid, undefined);
    expect(await refused).toMatchObject({ kind: 'model_unavailable', message: expect.stringMatching(/memory/) });
    expect(host.state()).toBe('failed');
    await host.close();
  });

  test('fails what needs more of it; where that ends the child, the next request has a new one', async () => {
    const crashes: string[] = [];
    const onCrash = (reason: string) => crashes.push(reason);
    const host = createEngineHost({ modelPath: path ?? '', slots: 2, contextTokens: 512, threads: 1, onCrash });
    await host.load();
    const first = host.pid() ?? 0;
    limitMemory(first, 2 ** 24);
    const embed = () => host.call({ method: 'embed', inputs: ['hello'] }, { signal: calm });
    await expect(embed()).rejects.toMatchObject({ kind: 'engine_failed', message: expect.stringMatching(/memory/) });
    expect((await run(host, text('Once', { maxTokens: 3 }))).usage.completionTokens).toBe(3);
    limitMemory(first, undefined);
    expect(await embed()).toMatchObject({ promptTokens: 1 });

    // Nothing at all any more: the process ends as soon as it asks for a page, whatever it is doing.
    limitMemory(first, -(2 ** 20));
    const endless = text('Once', { maxTokens: 100_000, overflow: 'shift', sampling: { ignoreEos: true } });
    const lost = await run(host, endless).catch((error: unknown) => error);
    expect(lost).toMatchObject({ kind: 'engine_failed' });
    expect(crashes).toHaveLength(1);
    expect((await run(host, text('Once', { maxTokens: 3 }))).usage.completionTokens).toBe(3);
    expect(host.pid()).not.toBe(first);
    await host.close();
  });

  test('says what a kill from outside most likely was', async () => {
    const host = createEngineHost({ modelPath: path ?? '', slots: 1, contextTokens: 256, threads: 1 });
    await host.load();
    const lost = run(host, text('Once', { maxTokens: 200, sampling: { ignoreEos: true } }));
    process.kill(host.pid() ?? 0, 'SIGKILL');
    await expect(lost).rejects.toMatchObject({
      kind: 'engine_failed',
      message: expect.stringMatching(/out of memory/),
    });
    await host.close();
  });
});
