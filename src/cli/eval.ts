import { readFileSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { type Answer, streamAnswer, type Turn } from './answer.ts';
import { quantiles } from './bench/sample.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { type ConnectFlags, type Connection, connect, withConnectFlags } from './connect.ts';
import type { EvalCase } from './eval/cases.ts';
import type { Judge } from './eval/checks.ts';
import { wholeNumber } from './flags.ts';
import { formatDuration, formatTable } from './format.ts';

interface EvalFlags extends ConnectFlags {
  readonly judge?: string;
  readonly concurrency: number;
  readonly repeat: number;
  readonly temperature: number;
  readonly maxTokens: number;
  readonly threshold?: number;
  readonly price: Readonly<Record<string, Price>>;
  readonly json?: boolean;
  readonly output?: string;
}

/** US dollars per million tokens. */
interface Price {
  readonly input: number;
  readonly output: number;
}

/** One case asked of one target. */
interface Outcome {
  readonly target: string;
  readonly caseId: string;
  readonly round: number;
  readonly passed: boolean;
  readonly failed: readonly string[];
  readonly error: string | undefined;
  readonly answer: Answer | undefined;
  readonly costUsd: number | undefined;
}

export const evaluate: CommandFactory = (cli) =>
  withConnectFlags(
    new Command('eval')
      .summary('compare models on your own prompts')
      .description('Ask every target every case of a JSON lines file, check the answers, and compare side by side.')
      .argument('<cases>', 'file of JSON lines: {"prompt": …, "checks": {…}}')
      .argument('[targets...]', 'models of the server, or MODEL@URL of another; the first model if absent'),
  )
    .option('--judge <target>', 'the model that decides "judge" checks')
    .option('--concurrency <count>', 'cases at once per target', wholeNumber(1), 1)
    .option('--repeat <count>', 'ask every case so often', wholeNumber(1), 1)
    .option('-t, --temperature <number>', 'where a case does not say', Number, 0)
    .option('-n, --max-tokens <count>', 'where a case does not say', wholeNumber(1), 256)
    .option('--threshold <share>', 'exit with 1 if a target passes less, as 0.9', share)
    .option('--price <model=input/output>', 'dollars per million tokens, where not published', addPrice, {})
    .option('--json', 'print JSON')
    .option('-o, --output <file>', 'write JSON with every answer')
    .addHelpText(
      'after',
      `
A case:
  {"id": "sky", "prompt": "What colour is the sky? One word.", "checks": {"contains": "blue", "maxWords": 3}}
  {"system": "Answer in JSON.", "prompt": "Who wrote Faust?", "checks": {"jsonSchema": {"type": "object", "required": ["author"]}}}
Checks: equals, contains, notContains, matches, json, jsonSchema, minWords, maxWords, finish, maxTtftMs, maxTotalMs, judge.

Examples:
  tidegate eval cases.jsonl smollm2 qwen3-0.6b
  tidegate eval cases.jsonl smollm2 gpt-5-mini@https://api.openai.com/v1 --judge gpt-5-mini@https://api.openai.com/v1
  tidegate eval cases.jsonl smollm2 --threshold 0.9 --output result.json`,
    )
    .action((file: string, targets: string[], flags: EvalFlags) => evalCommand(cli, file, targets, flags));

async function evalCommand(cli: Cli, file: string, targets: readonly string[], flags: EvalFlags): Promise<void> {
  const { parseCases } = await import('./eval/cases.ts');
  const cases = parseCases(readFileSync(file, 'utf8'), file);
  const named: (string | undefined)[] = targets.length > 0 ? [...targets] : [undefined];
  const connections = new Map<string, Connection>();
  try {
    for (const target of named) {
      const connection = await connectTarget(cli, target, flags);
      connections.set(target ?? connection.model, connection);
    }
    const judged = flags.judge === undefined ? undefined : await connectTarget(cli, flags.judge, flags);
    const outcomes: Outcome[] = [];
    for (const [target, connection] of connections) {
      outcomes.push(...(await askAll(cli, target, connection, cases, flags, judged && judgeBy(cli, judged))));
    }
    await judged?.close();
    report(cli, [...connections.keys()], cases, outcomes, flags);
    cli.signal.throwIfAborted();
    enforce([...connections.keys()], outcomes, flags);
  } finally {
    for (const connection of connections.values()) await connection.close();
  }
}

const connectTarget = (cli: Cli, target: string | undefined, flags: EvalFlags): Promise<Connection> => {
  const [, model, url] = /^(.+)@(https?:\/\/.+)$/.exec(target ?? '') ?? [];
  return connect(cli, model ?? target, url ? { ...flags, url } : flags);
};

async function askAll(
  cli: Cli,
  target: string,
  connection: Connection,
  cases: readonly EvalCase[],
  flags: EvalFlags,
  judge: Judge | undefined,
): Promise<readonly Outcome[]> {
  const { genaiPrices } = await import('../policy/price-catalogue.ts');
  const published = await genaiPrices();
  const cost = ({ promptTokens, completionTokens, cachedTokens }: Answer): number | undefined => {
    if (promptTokens === undefined || completionTokens === undefined) return undefined;
    const own = flags.price[target] ?? flags.price[connection.model];
    if (own) return (promptTokens * own.input + completionTokens * own.output) / 1e6;
    return published(undefined, connection.model, {
      ...{ promptTokens, completionTokens },
      ...(cachedTokens === undefined ? {} : { cachedTokens }),
    });
  };
  const todo = Array.from({ length: flags.repeat }, (_, round) => cases.map((one) => ({ one, round }))).flat();
  const outcomes: Outcome[] = [];
  const live = cli.stderr.isTTY === true && !flags.json;
  const worker = async () => {
    for (let next = todo.shift(); next && !cli.signal.aborted; next = todo.shift()) {
      const { one, round } = next;
      const answered = await askOne(connection, one, flags, judge, cli.signal);
      const costUsd = answered.answer && cost(answered.answer);
      outcomes.push({ target, caseId: one.id, round, ...answered, costUsd });
      if (live) cli.stderr.write(`\r\x1b[2K  ${target}: ${outcomes.length} of ${cases.length * flags.repeat}`);
    }
  };
  await Promise.all(Array.from({ length: flags.concurrency }, worker));
  if (live) cli.stderr.write('\r\x1b[2K');
  return outcomes;
}

async function askOne(
  connection: Connection,
  { prompt, system, messages, params, checks }: EvalCase,
  { temperature, maxTokens }: EvalFlags,
  judge: Judge | undefined,
  signal: AbortSignal,
): Promise<Pick<Outcome, 'passed' | 'failed' | 'error' | 'answer'>> {
  const { failedChecks } = await import('./eval/checks.ts');
  const asked = (messages ?? [{ role: 'user', content: prompt }]) as unknown as Turn[]; // the server judges a case's own messages
  const turns: Turn[] = system === undefined ? asked : [{ role: 'system', content: system }, ...asked];
  const options = { temperature, maxTokens, extra: params };
  try {
    const answer = await streamAnswer(connection, turns, options, { signal, show: () => {} });
    const failed = await failedChecks(checks, answer, judge);
    return { passed: failed.length === 0, failed, error: undefined, answer };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { passed: false, failed: [], error: message, answer: undefined };
  }
}

function judgeBy(cli: Cli, connection: Connection): Judge {
  return async (statement, answer) => {
    const messages: Turn[] = [
      { role: 'system', content: 'You judge answers. Reply with one word: yes if the statement is true, else no.' },
      { role: 'user', content: `Answer:\n<<<\n${answer}\n>>>\n\nStatement: ${statement}\nTrue?` },
    ];
    const options = { temperature: 0, maxTokens: 512 };
    const { text } = await streamAnswer(connection, messages, options, { signal: cli.signal, show: () => {} });
    return /^\W*yes\b/i.test(text.trim());
  };
}

function report(
  cli: Cli,
  targets: readonly string[],
  cases: readonly EvalCase[],
  outcomes: readonly Outcome[],
  { json, output }: EvalFlags,
): void {
  const summary = targets.map((target) =>
    summaryOf(
      target,
      outcomes.filter((outcome) => outcome.target === target),
    ),
  );
  const text = JSON.stringify({ at: new Date().toISOString(), targets: summary, outcomes }, null, 2);
  if (json) cli.print(text);
  else showOutcomes(cli, targets, cases, outcomes, summary);
  if (output) writeFileSync(output, `${text}\n`); // last: the answers are told even where it cannot be written
}

function showOutcomes(
  cli: Cli,
  targets: readonly string[],
  cases: readonly EvalCase[],
  outcomes: readonly Outcome[],
  summary: readonly ReturnType<typeof summaryOf>[],
): void {
  const { bold, green, red, dim } = cli.paint;
  const of = (target: string, id: string) => outcomes.filter((one) => one.target === target && one.caseId === id);
  const mark = (some: readonly Outcome[]): string => {
    const passed = some.filter((one) => one.passed).length;
    if (some.length === 0) return dim('-');
    if (some.length === 1) return passed === 1 ? green('✓') : red('✗');
    return (passed === some.length ? green : red)(`${passed}/${some.length}`);
  };
  cli.print(
    formatTable([
      ['CASE', ...targets].map(bold),
      ...cases.map(({ id }) => [id, ...targets.map((target) => mark(of(target, id)))]),
    ]),
  );
  for (const { target, caseId, failed, error } of outcomes) {
    if (error ?? failed[0]) cli.print(`${red('✗')} ${caseId} · ${target}: ${error ?? failed.join('; ')}`);
  }
  const ms = (value: number | undefined) => (value === undefined ? '-' : formatDuration(value));
  cli.print('');
  cli.print(
    formatTable(
      [
        ['TARGET', 'PASSED', 'ERRORS', 'TTFT P50', 'TOTAL P50', 'TOTAL P99', 'TOK/S', 'COST'].map(bold),
        ...summary.map((one) => [
          one.target,
          `${one.passed}/${one.asked} (${Math.round(one.share * 100)}%)`,
          String(one.errors),
          ms(one.ttftMs?.p50),
          ms(one.totalMs?.p50),
          ms(one.totalMs?.p99),
          one.tokensPerSecond?.toFixed(1) ?? '-',
          one.costUsd === undefined ? '-' : `$${one.costUsd.toPrecision(3)}`,
        ]),
      ],
      [1, 2, 3, 4, 5, 6, 7],
    ),
  );
}

function summaryOf(target: string, outcomes: readonly Outcome[]) {
  const answers = outcomes.flatMap(({ answer }) => answer ?? []);
  const passed = outcomes.filter((one) => one.passed).length;
  const rates = answers.flatMap(({ completionTokens = 0, totalMs, ttftMs }) =>
    completionTokens > 1 && totalMs > ttftMs ? ((completionTokens - 1) / (totalMs - ttftMs)) * 1000 : [],
  );
  const costs = outcomes.flatMap(({ costUsd }) => costUsd ?? []);
  return {
    target,
    asked: outcomes.length,
    passed,
    share: outcomes.length > 0 ? passed / outcomes.length : 0,
    errors: outcomes.filter(({ error }) => error !== undefined).length,
    ttftMs: quantiles(answers.map(({ ttftMs }) => ttftMs)),
    totalMs: quantiles(answers.map(({ totalMs }) => totalMs)),
    tokensPerSecond: quantiles(rates)?.p50,
    /** Absent where no answer has a known price. */
    costUsd: costs.length > 0 ? costs.reduce((sum, one) => sum + one, 0) : undefined,
  };
}

function enforce(targets: readonly string[], outcomes: readonly Outcome[], { threshold }: EvalFlags): void {
  if (outcomes.length > 0 && outcomes.every(({ error }) => error !== undefined))
    throw new CliError('no case was answered');
  if (threshold === undefined) return;
  const below = targets.filter((target) => {
    const own = outcomes.filter((outcome) => outcome.target === target);
    return own.filter(({ passed }) => passed).length < threshold * own.length;
  });
  if (below.length > 0) throw new CliError(`below the threshold of ${threshold}: ${below.join(', ')}`);
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) throw new InvalidArgumentError('A number from 0 to 1.');
  return value;
}

function addPrice(text: string, before: Readonly<Record<string, Price>>): Readonly<Record<string, Price>> {
  const [, model, input, output] = /^(.+)=(\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (!model) throw new InvalidArgumentError('MODEL=INPUT/OUTPUT, as qwen3=0.1/0.4.');
  return { ...before, [model]: { input: Number(input), output: Number(output) } };
}
