import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import type { ChatRequest } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import type { Explanation } from '../routing/attempt.ts';
import type { Planned } from '../routing/plan.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
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
  readonly json?: boolean;
}

const more = (value: string, before: readonly string[]) => [...before, value];

export const explain: CommandFactory = (cli) =>
  new Command('explain')
    .summary('say where a request would go, and why')
    .description('Print whom a request would ask, in order, and what happens when one fails. Nothing is sent.')
    .option('-m, --model <name>', 'public model name; the one in the file if absent')
    .option('-f, --file <request.json>', 'a chat completions body; - reads standard input')
    .option('-p, --prompt <text>', 'a user message instead of a file')
    .option('--caller <id>', 'as this key', 'anonymous')
    .option('--team <team>', "the key's team")
    .option('--tag <tag>', 'a tag of the key; may be repeated', more, [])
    .option('--label <label>', 'what the classifier would say')
    .option('--found <label>', 'what filters would find, such as personal-data; may be repeated', more, [])
    .option('-c, --config <file>', 'configuration file (tidegate.yaml in this folder, if there)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  tidegate explain --model chat --file request.json
  tidegate explain --model chat --prompt "Wie ist das Wetter?" --team red --json
  tidegate explain --model chat --prompt "My card is …" --found personal-data

The plan is that of a gateway that has just started: circuits closed, nothing measured, no engine loaded.`,
    )
    .action(async (flags: ExplainFlags) => {
      const explanation = await plan(cli, flags);
      if (flags.json) cli.print(JSON.stringify(asJson(explanation), null, 2));
      else show(cli, explanation);
      if (explanation.plan.targets.length === 0) throw new CliError('nobody would answer this request');
    });

async function plan(cli: Cli, flags: ExplainFlags): Promise<Explanation> {
  const [
    registry,
    { createLocal },
    { routedModels },
    { createRouting },
    { createUndiciTransport },
    { openaiChat },
    prices,
  ] = await Promise.all([
    import('../../providers/registry.ts'),
    import('../node/local.ts'),
    import('../routes-of-config.ts'),
    import('../routing/attempt.ts'),
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
  const routing = createRouting(routedModels(config, providers, undefined, prices(config)));
  try {
    return routing.explain(model, request, contextOf(flags, cli.signal), flags.label);
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
    return (provider: string, model: string) => {
      const { prompt, completion } = prices.perToken(`${provider}/${model}`);
      return prompt + completion > 0 ? { input: prompt * 1e6, output: completion * 1e6 } : undefined;
    };
  };
}

function readBody({ file, prompt }: ExplainFlags): JsonObject {
  if (file === undefined) return { messages: [{ role: 'user', content: prompt ?? 'Hello.' }] };
  let body: unknown;
  try {
    body = JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'));
  } catch (error) {
    throw new CliError(
      `${file} is no JSON that can be read: ${error instanceof Error ? error.message : String(error)}`,
    );
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

/** What a plan says, without what only code needs. */
function asJson({ model, plan: { targets, excluded }, rules, facts }: Explanation) {
  return {
    model,
    request: {
      promptTokens: facts.promptTokens,
      outputTokens: facts.outputTokens,
      language: facts.language,
      label: facts.label,
      labels: facts.request.labels ?? [],
    },
    targets: targets.map((planned) => ({
      target: planned.leaf.target.name,
      reason: planned.reason,
      ...(planned.trial && { version: planned.trial.version, trial: planned.trial.trial.name }),
      ...(costOf(planned, facts) !== undefined && { estimatedUsd: costOf(planned, facts) }),
      local: planned.leaf.target.provider.capabilities.local,
      takesOver: planned.leaf.target.provider.capabilities.prefill,
    })),
    excluded,
    timeouts: rules.timeouts,
    retry: rules.retry,
    takeover: rules.takeover,
    ...(rules.hedge && { hedge: rules.hedge }),
    ...(rules.objective && { objective: rules.objective }),
    ...(rules.shadow && { shadow: { target: rules.shadow.target.target.name, share: rules.shadow.share } }),
    ...(rules.classifier && {
      classifier: { target: rules.classifier.target.name, labels: Object.keys(rules.classifier.labels) },
    }),
  };
}

function costOf({ leaf }: Planned, { promptTokens, outputTokens }: Explanation['facts']): number | undefined {
  const price = leaf.price?.();
  return price && Number(((promptTokens * price.input + outputTokens * price.output) / 1e6).toPrecision(3));
}

function show({ print, paint }: Cli, explanation: Explanation): void {
  const { model, request, targets, excluded, timeouts, retry, takeover, ...rest } = asJson(explanation);
  const { promptTokens, language, labels } = request;
  print(
    `${paint.bold(model)}  ${paint.dim(`about ${promptTokens} prompt tokens, language ${language}${labels.length > 0 ? `, found: ${labels.join(', ')}` : ''}`)}\n`,
  );
  for (const [index, { target, reason, estimatedUsd, takesOver }] of targets.entries()) {
    const notes = [
      reason,
      estimatedUsd === undefined ? '' : `≤ $${estimatedUsd}`,
      takesOver ? 'takes over broken answers' : '',
    ];
    print(`  ${index + 1}. ${paint.green(target)}  ${paint.dim(notes.filter(Boolean).join('; '))}`);
  }
  for (const { target, reason } of excluded) print(`  ${paint.red('✗')}  ${target}  ${paint.dim(reason)}`);
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
