import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import type { ChatRequest } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import type { Described, ExplainedTarget } from '../routing/explanation.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { parseUrl, repeated } from './flags.ts';
import { readConfig } from './serve.ts';

interface ExplainFlags {
  readonly model?: string;
  readonly file?: string;
  readonly prompt?: string;
  readonly caller?: string;
  readonly team?: string;
  readonly tag: readonly string[];
  readonly label?: string;
  readonly found: readonly string[];
  readonly config?: string;
  readonly url?: string;
  readonly json?: boolean;
}

export const explain: CommandFactory = (cli) =>
  new Command('explain')
    .summary('say where a request would go, and why')
    .description('Print whom a request would ask, in order, and what happens when one fails. Nothing is sent.')
    .option('-m, --model <name>', 'public model name; the one in the file if absent')
    .option('-f, --file <request.json>', 'a chat completions body; - reads standard input')
    .option('-p, --prompt <text>', 'a user message instead of a file')
    .option('--caller <id>', 'as this key', 'anonymous')
    .option('--team <team>', "the key's team")
    .option('--tag <tag>', 'a tag of the key; may be repeated', repeated, [])
    .option('--label <label>', 'what the classifier would say')
    .option('--found <label>', 'what filters would find, such as personal-data; may be repeated', repeated, [])
    .option('-c, --config <file>', 'configuration file (tidegate.yaml in this folder, if there)')
    .option('--url <url>', 'ask a running gateway: its plan now, with circuits, load and latencies', parseUrl)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  tidegate explain --model chat --file request.json
  tidegate explain --model chat --prompt "Wie ist das Wetter?" --team red --json
  tidegate explain --model chat --prompt "My card is …" --found personal-data
  tidegate explain --model chat --url http://127.0.0.1:8787

Without --url the plan is that of a gateway that has just started: circuits closed, nothing measured, no engine loaded.
With it the running one is asked; TIDEGATE_API_KEY is the admin key that it may want.`,
    )
    .action(async (flags: ExplainFlags) => {
      const explanation = flags.url === undefined ? await plan(cli, flags) : await askRunning(cli, flags.url, flags);
      if (flags.json) cli.print(JSON.stringify(explanation, null, 2));
      else show(cli, explanation);
      if (explanation.targets.length === 0) throw new CliError('nobody would answer this request');
    });

async function plan(cli: Cli, flags: ExplainFlags): Promise<Described> {
  const [
    registry,
    { createLocal },
    { routedModels },
    { createRouting },
    { describeExplanation },
    { createUndiciTransport },
    { openaiChat },
    prices,
  ] = await Promise.all([
    import('../../providers/registry.ts'),
    import('../node/local.ts'),
    import('../routes-of-config.ts'),
    import('../routing/attempt.ts'),
    import('../routing/explanation.ts'),
    import('../transport/undici.ts'),
    import('../wire/openai/format.ts'),
    pricesOf(),
  ]);
  const config = await readConfig(cli, flags.config);
  const body = readBody(flags);
  const model = flags.model ?? (typeof body['model'] === 'string' ? body['model'] : Object.keys(config.models)[0]);
  if (model === undefined) throw new CliError('Name a model: tidegate explain --model NAME', 2);
  const decoded = openaiChat.decode({ ...body, model }, { headers: {} });
  const request: ChatRequest = flags.found.length > 0 ? { ...decoded, labels: flags.found } : decoded;
  const transport = createUndiciTransport();
  const local = createLocal(config.engine, { env: cli.env });
  const providers = new Map([
    [local.name, [local]],
    ...Object.entries(config.providers).map(
      ([name, entry]) => [name, registry.createProviders(name, entry, { transport })] as const,
    ),
  ]);
  const routing = createRouting(await routedModels(config, providers, undefined, prices(config)));
  try {
    return describeExplanation(routing.explain(model, request, contextOf(flags, cli.signal), flags.label));
  } finally {
    await transport.close?.();
  }
}

async function pricesOf() {
  const [{ createPrices }, { genaiPrices }] = await Promise.all([
    import('../policy/price.ts'),
    import('../policy/price-catalogue.ts'),
  ]);
  const catalogue = await genaiPrices();
  return (config: Awaited<ReturnType<typeof readConfig>>) => {
    const prices = createPrices({
      overrides: config.prices.overrides,
      catalogue,
      providerId: (provider) => config.providers[provider]?.type,
    });
    return (provider: string, model: string) => prices.perMillion(`${provider}/${model}`);
  };
}

function readBody({ file, prompt }: ExplainFlags): JsonObject {
  if (file === undefined) return { messages: [{ role: 'user', content: prompt ?? 'Hello.' }] };
  const text = readFileSync(file === '-' ? 0 : file, 'utf8');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new CliError(`${file} is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isJsonObject(body)) throw new CliError(`${file} holds no request: it must be a JSON object`);
  return body;
}

function contextOf({ caller = 'anonymous', team, tag }: ExplainFlags, signal: AbortSignal): RequestContext {
  return {
    requestId: 'explain',
    caller: { id: caller, role: 'caller', tags: tag, tenant: caller, ...(team !== undefined && { team }) },
    signal,
    endpoint: '/v1/chat/completions',
    startedMs: 0,
    headers: {},
  };
}

/** The plan of a gateway that runs: circuits, load and latencies as they are now. */
async function askRunning(cli: Cli, url: string, flags: ExplainFlags): Promise<Described> {
  const { caller, team, tag, label, found } = flags;
  const key = cli.env['TIDEGATE_API_KEY'];
  const body = readBody(flags);
  const base = url.replace(/\/+$/, '').replace(/\/v1$/, '');
  const response = await fetch(`${base}/admin/explain`, {
    method: 'POST',
    signal: cli.signal,
    headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
    body: JSON.stringify({
      request: { ...body, model: flags.model ?? body['model'] },
      tags: tag,
      found,
      ...(caller !== undefined && { caller }),
      ...(team !== undefined && { team }),
      ...(label !== undefined && { label }),
    }),
  }).catch((error: unknown) => {
    if (cli.signal.aborted) throw error;
    throw new CliError(`${base} cannot be reached. Is it running there? (tidegate serve)`);
  });
  const answer = (await response.json().catch(() => undefined)) as
    | (Described & { error?: { message?: string } })
    | undefined; // our own endpoint
  if (response.ok && answer) return answer;
  if (response.status === 401 || response.status === 403) {
    throw new CliError(`${base} wants an admin key: set TIDEGATE_API_KEY.`);
  }
  throw new CliError(
    answer?.error?.message ?? `${base} answered ${response.status}: it is no Tidegate, or an older one.`,
  );
}

function show({ print, paint }: Cli, explanation: Described): void {
  const { model, request, targets, excluded, timeouts, retry, takeover, ...rest } = explanation;
  const { promptTokens, language, labels } = request;
  print(
    `${paint.bold(model)}  ${paint.dim(`about ${promptTokens} prompt tokens, language ${language}${labels.length > 0 ? `, found: ${labels.join(', ')}` : ''}`)}\n`,
  );
  for (const [index, { target, reason, estimatedUsd, takesOver, live }] of targets.entries()) {
    const notes = [
      reason,
      live ? inWords(live) : '',
      estimatedUsd === undefined ? '' : `≤ $${estimatedUsd}`,
      takesOver ? 'takes over broken answers' : '',
    ];
    print(`  ${index + 1}. ${paint.green(target)}  ${paint.dim(notes.filter(Boolean).join('; '))}`);
  }
  for (const { target, reason, retryInMs } of excluded) {
    const back = retryInMs === undefined ? '' : `; may be asked again in ${retryInMs} ms`;
    print(`  ${paint.red('✗')}  ${target}  ${paint.dim(reason + back)}`);
  }
  if (rest.shed) print(paint.yellow(`  refused now: retry after ${rest.shed.retryAfterMs} ms`));
  const limit = (ms: number) => (ms === 0 ? 'no limit' : `${ms} ms`);
  print(
    [
      '',
      `first token within ${timeouts.firstTokenMs === undefined ? '1 min (local 10)' : limit(timeouts.firstTokenMs)}, silence up to ${timeouts.idleMs === undefined ? '30 s (local 10 min)' : limit(timeouts.idleMs)}, in all ${limit(timeouts.totalMs)}`,
      `${retry.attempts} ${retry.attempts === 1 ? 'retry' : 'retries'} of a broken call; an answer may change hands ${takeover.attempts} times`,
      ...(rest.hedge ? [`the next one is asked too after ${rest.hedge.afterMs} ms without a token`] : []),
      ...(rest.objective
        ? [`objective: first token within ${rest.objective.ttftMs} ms${rest.objective.shed ? ', else refused' : ''}`]
        : []),
      ...(rest.shadow ? [`${rest.shadow.share * 100} % are copied to ${rest.shadow.target}`] : []),
      ...(rest.classifier
        ? [`${rest.classifier.target} sorts requests into ${rest.classifier.labels.join(', ')} (--label stands for it)`]
        : []),
    ].join('\n'),
  );
}

function inWords({ circuit, inFlight, inFlightTokens, latencyMs }: NonNullable<ExplainedTarget['live']>): string {
  const load = inFlight === 0 ? 'idle' : `${inFlight} in flight (${inFlightTokens} tokens)`;
  return `circuit ${circuit}, ${load}${latencyMs > 0 ? `, first token ${latencyMs} ms` : ''}`;
}
