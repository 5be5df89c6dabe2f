import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { parseDurationMs } from '../core/units.ts';
import type { Level } from './bench/plot.ts';
import type { Objective, Sample, Summary } from './bench/sample.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { type ConnectFlags, type Connection, connect, withConnectFlags } from './connect.ts';
import { wholeNumber } from './flags.ts';
import { formatDuration, formatTable } from './format.ts';

interface BenchFlags extends ConnectFlags {
  readonly concurrency: readonly number[];
  readonly rate?: readonly number[];
  readonly requests: number;
  readonly duration?: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly prompts?: string;
  readonly samePrompt?: boolean;
  readonly warmup: number;
  readonly ttft?: number;
  readonly tpot?: number;
  readonly total?: number;
  readonly timeout: number;
  readonly json?: boolean;
  readonly output?: string;
  readonly svg?: string;
}

export const bench: CommandFactory = (cli) =>
  withConnectFlags(
    new Command('bench')
      .summary('measure a server under load')
      .description('Put load on any OpenAI-compatible address and say latency, throughput and goodput.')
      .argument('[model]', 'the first model of the server if absent'),
  )
    .option('--concurrency <list>', 'callers at once, one level each', wholeNumbers, [1, 2, 4, 8])
    .option('--rate <list>', 'instead: requests per second at random moments, one level each', numbers)
    .option('--requests <count>', 'requests per level', wholeNumber(1), 16)
    .option('--duration <time>', 'most time per level, as 30s', time)
    .option('--input-tokens <count>', 'about so many prompt tokens', wholeNumber(1), 64)
    .option('--output-tokens <count>', 'most tokens per answer', wholeNumber(1), 64)
    .option('--prompts <file>', 'prompts to use instead: one a line, or JSON lines with "prompt" or "messages"')
    .option('--same-prompt', 'ask the same every time, so that prompt caches show')
    .option('--warmup <count>', 'requests before the first level that do not count', wholeNumber(0), 1)
    .option('--ttft <time>', 'objective: time to first token, as 1s', time)
    .option('--tpot <time>', 'objective: time per output token, as 50ms', time)
    .option('--total <time>', 'objective: whole request', time)
    .option('--timeout <time>', 'give a request up after', time, 300_000)
    .option('--json', 'print JSON')
    .option('-o, --output <file>', 'write JSON with every condition too')
    .option('--svg <file>', 'write a plot')
    .addHelpText(
      'after',
      `
Examples:
  tidegate bench smollm2 --concurrency 1,4,8 --ttft 1s --tpot 100ms
  tidegate bench --url http://gpu-box:8000/v1 qwen3-8b --rate 1,2,4 --duration 60s --svg load.svg
  tidegate bench --prompts questions.txt --output-tokens 256 --output result.json

TTFT: request sent to first text. TPOT: time per token after the first. ITL: gap between pieces of text.
Goodput: requests per second that meet every objective given. Failed requests count against it.`,
    )
    .action((model: string | undefined, flags: BenchFlags) => benchCommand(cli, model, flags));

async function benchCommand(cli: Cli, model: string | undefined, flags: BenchFlags): Promise<void> {
  const bodies = flags.prompts ? readPrompts(flags.prompts) : undefined;
  const connection = await connect(cli, model, flags);
  const [{ createPooledTransport }, { ask }, { runLoad }, { summarise }, { syntheticPrompt }] = await Promise.all([
    import('../transport/pooled.node.ts'),
    import('./bench/ask.ts'),
    import('./bench/load.ts'),
    import('./bench/sample.ts'),
    import('./bench/prompts.ts'),
  ]);
  const transport = createPooledTransport();
  const apiKey = cli.env['TIDEGATE_API_KEY'] ?? cli.env['OPENAI_API_KEY'];
  let asked = 0;
  const send = (_: number, signal: AbortSignal): Promise<Sample> => {
    const index = asked++;
    const own = bodies?.[index % bodies.length];
    const prompt = syntheticPrompt(flags.inputTokens, flags.samePrompt ? undefined : index);
    const body = {
      model: connection.model,
      max_tokens: flags.outputTokens,
      temperature: 0,
      ...(own ?? { messages: [{ role: 'user', content: prompt }] }),
    };
    return ask({ transport, baseUrl: connection.baseUrl, apiKey, body, timeoutMs: flags.timeout, signal });
  };
  const objective = objectiveOf(flags);
  const levels: Level[] = [];
  try {
    await runLoad({ concurrency: 1, requests: flags.warmup }, { send, signal: cli.signal });
    const xs = flags.rate ?? flags.concurrency;
    for (const x of xs) {
      if (cli.signal.aborted) break;
      const what = flags.rate ? `${x} requests/s` : `${x} at once`;
      const progress = showLevel(cli, what, flags);
      const plan = flags.rate ? { concurrency: 1, rate: x } : { concurrency: x };
      const { samples, wallMs } = await runLoad(
        { ...plan, requests: flags.requests, durationMs: flags.duration },
        { send, signal: cli.signal, onSample: progress.onSample },
      );
      progress.done();
      if (samples.length > 0) levels.push({ x, summary: summarise(samples, wallMs, objective) });
    }
  } finally {
    await transport.close?.();
    await connection.close();
  }
  await report(cli, connection, flags, levels);
  cli.signal.throwIfAborted();
  if (levels.every(({ summary }) => summary.completed === 0)) throw new CliError('no request was answered');
}

function objectiveOf({ ttft, tpot, total }: BenchFlags): Objective | undefined {
  if (ttft === undefined && tpot === undefined && total === undefined) return undefined;
  return { ttftMs: ttft, tpotMs: tpot, totalMs: total };
}

async function report(cli: Cli, connection: Connection, flags: BenchFlags, levels: readonly Level[]): Promise<void> {
  const { asciiBars, svgPlot } = await import('./bench/plot.ts');
  const load = flags.rate ? 'requests per second' : 'callers at once';
  const result = {
    target: connection.baseUrl,
    model: connection.model,
    at: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model.trim(), cores: cpus().length, node: process.version, platform: process.platform },
    load,
    conditions: flags,
    levels: levels.map(({ x, summary }) => ({ load: x, ...summary })),
  };
  const json = JSON.stringify(result, null, 2);
  if (flags.json) cli.print(json);
  else if (levels.length > 0) showLevels(cli, flags, levels, asciiBars);
  // Last, as a file that cannot be written must not cost what was measured.
  if (flags.output) writeFileSync(flags.output, `${json}\n`);
  if (flags.svg) writeFileSync(flags.svg, svgPlot(`${connection.model} at ${connection.baseUrl}`, load, levels));
}

function showLevels(
  cli: Cli,
  flags: BenchFlags,
  levels: readonly Level[],
  asciiBars: typeof import('./bench/plot.ts').asciiBars,
): void {
  const { bold, dim } = cli.paint;
  const head = [
    flags.rate ? 'RATE' : 'CALLERS',
    'OK',
    'FAILED',
    'REQ/S',
    'TOK/S',
    'TTFT P50',
    'P99',
    'TPOT P50',
    'P99',
    'ITL P50',
    'P99',
  ];
  const goodput = levels.some(({ summary }) => summary.goodput);
  const rows = levels.map(({ x, summary }) => [...row(x, summary), ...(goodput ? [goodputCell(summary)] : [])]);
  const columns = head.length + Number(goodput);
  cli.print(formatTable([[...head, ...(goodput ? ['GOODPUT'] : [])].map(bold), ...rows], [...Array(columns).keys()]));
  cli.print(`\n${bold('Output tokens per second')}`);
  cli.print(
    asciiBars(
      levels.map(({ x, summary: { outputTokensPerSecond: value } }) => ({
        label: String(x),
        value,
        text: value.toFixed(1),
      })),
    ),
  );
  for (const line of remarks(levels)) cli.print(dim(line));
}

function row(
  x: number,
  { completed, requests, requestsPerSecond, outputTokensPerSecond, ttftMs, tpotMs, itlMs }: Summary,
) {
  const ms = (value: number | undefined) => (value === undefined ? '-' : formatDuration(value));
  return [
    ...[String(x), String(completed), String(requests - completed)],
    ...[requestsPerSecond.toFixed(2), outputTokensPerSecond.toFixed(1)],
    ...[ms(ttftMs?.p50), ms(ttftMs?.p99), ms(tpotMs?.p50), ms(tpotMs?.p99), ms(itlMs?.p50), ms(itlMs?.p99)],
  ];
}

const goodputCell = ({ goodput }: Summary): string =>
  goodput ? `${goodput.requestsPerSecond.toFixed(2)}/s (${Math.round(goodput.share * 100)}%)` : '-';

function remarks(levels: readonly Level[]): readonly string[] {
  const summaries = levels.map(({ summary }) => summary);
  const errors = new Map<string, number>();
  for (const summary of summaries) {
    for (const [name, count] of Object.entries(summary.errors)) errors.set(name, (errors.get(name) ?? 0) + count);
  }
  const prompt = summaries.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  const cached = summaries.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
  return [
    ...[...errors].map(([name, count]) => `${count} failed: ${name}`),
    ...(prompt > 0 ? [`${prompt} prompt tokens, ${Math.round((cached / prompt) * 100)}% from a prompt cache`] : []),
    ...(summaries.some(({ tokensCounted }) => tokensCounted)
      ? ['The server told no usage: pieces of text were counted as tokens.']
      : []),
  ];
}

function showLevel(cli: Cli, what: string, { requests, json }: BenchFlags) {
  const live = cli.stderr.isTTY === true && !json;
  const startedMs = performance.now();
  let tokens = 0;
  if (!live && !json) cli.note(`${what}: at most ${requests} requests`);
  return {
    onSample({ outputTokens }: Sample, done: number) {
      tokens += outputTokens;
      const rate = tokens / ((performance.now() - startedMs) / 1000);
      if (live) cli.stderr.write(`\r\x1b[2K  ${what}: ${done} of ${requests}, ${rate.toFixed(0)} tokens/s`);
    },
    done() {
      if (live) cli.stderr.write('\r\x1b[2K');
      else if (!json) cli.note(`${what}: done in ${formatDuration(performance.now() - startedMs)}`);
    },
  };
}

function numbers(text: string): readonly number[] {
  const list = text.split(',').map(Number);
  if (list.length === 0 || list.some((value) => !(value > 0) || !Number.isFinite(value))) {
    throw new InvalidArgumentError('Numbers above 0, with commas between: 1,2,4');
  }
  return list;
}

function wholeNumbers(text: string): readonly number[] {
  const list = numbers(text);
  if (list.some((value) => !Number.isInteger(value))) throw new InvalidArgumentError('Whole numbers: 1,2,4');
  return list;
}

function time(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === undefined || ms <= 0) throw new InvalidArgumentError('A time such as 500ms, 30s or 5m.');
  return ms;
}

/** Bodies of requests, without the model. */
function readPrompts(file: string): readonly Readonly<Record<string, unknown>>[] {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim());
  if (lines.length === 0) throw new CliError(`${file} holds no prompts.`);
  return lines.map((line, at) => {
    if (!line.startsWith('{')) return { messages: [{ role: 'user', content: line }] };
    try {
      const { prompt, ...rest } = JSON.parse(line) as Record<string, unknown>; // handed on as the user wrote it
      if (Array.isArray(rest['messages'])) return rest;
      if (typeof prompt === 'string') return { ...rest, messages: [{ role: 'user', content: prompt }] };
    } catch {
      // told below
    }
    throw new CliError(`${file}, line ${at + 1}: expected text, or JSON with "prompt" or "messages".`);
  });
}
