import type { Command } from 'commander';
import type OpenAI from 'openai';
import type { RunningGateway } from '../node.ts';
import { type Cli, CliError } from './cli.ts';
import { parseUrl, publicName } from './flags.ts';
import { pullMissing, readConfig, refuseUnknown } from './serve.ts';

/** An address that answers, with the official client pointed at it. */
export interface Connection {
  readonly client: OpenAI;
  /** With `/v1`. */
  readonly baseUrl: string;
  /** Public model names it lists. */
  readonly models: readonly string[];
  /** The public name under which `model` was asked for. */
  readonly model: string;
  /** Stops the gateway if this command started it. */
  close(): Promise<void>;
}

export interface ConnectFlags {
  readonly url?: string;
  readonly config?: string;
}

/** Where the command finds its gateway. */
export const withConnectFlags = (command: Command): Command =>
  command
    .option(
      '--url <url>',
      'base URL of a running server (TIDEGATE_URL); else the one on this machine, or one of our own',
      parseUrl,
    )
    .option('-c, --config <file>', 'configuration file for a gateway of our own');

/**
 * Finds a server for `model` (absent: its first): the given URL, else a gateway running where the configuration says,
 * else one started in this process, with the model fetched. A key is read from TIDEGATE_API_KEY or OPENAI_API_KEY.
 */
export async function connect(cli: Cli, wanted: string | undefined, flags: ConnectFlags): Promise<Connection> {
  const url = flags.url ?? cli.env['TIDEGATE_URL'];
  if (url) return await open(cli, baseUrlOf(url), wanted, async () => {});
  const config = await readConfig(cli, flags.config);
  const running = addressOf(config.server);
  if (await isGateway(running)) {
    const found = await open(cli, running, wanted, async () => {}).catch((error: unknown) => {
      if (error instanceof UnknownModel) return undefined; // perhaps a local file: a gateway of our own can serve it
      throw error;
    });
    if (found) return found;
  }
  const isPublic = wanted === undefined || Object.hasOwn(config.models, wanted);
  const name = wanted === undefined ? undefined : isPublic ? wanted : publicName(wanted);
  const gateway = await startOwn(cli, flags, isPublic || !wanted || !name ? {} : { [name]: wanted }, name);
  return await open(cli, `${gateway.url}/v1`, name, () => gateway.close());
}

async function startOwn(
  cli: Cli,
  flags: ConnectFlags,
  localModels: Readonly<Record<string, string>>,
  name: string | undefined,
): Promise<RunningGateway> {
  const { startGateway } = await import('../node.ts');
  const config = await readConfig(cli, flags.config);
  const route = config.models[name ?? Object.keys(config.models)[0] ?? ''];
  const locals = route?.targets.flatMap(({ local }) => local ?? []) ?? [];
  await refuseUnknown(cli, Object.values(localModels));
  await pullMissing(cli, [...locals, ...Object.values(localModels)]);
  return await startGateway({
    env: cli.env,
    host: '127.0.0.1',
    port: 0,
    log: { level: 'silent' },
    localModels,
    ...(flags.config === undefined ? {} : { configFile: flags.config }),
  });
}

class UnknownModel extends CliError {}

async function open(
  cli: Cli,
  baseUrl: string,
  wanted: string | undefined,
  close: () => Promise<void>,
): Promise<Connection> {
  const { OpenAI } = await import('openai');
  const apiKey = cli.env['TIDEGATE_API_KEY'] ?? cli.env['OPENAI_API_KEY'] ?? 'none';
  const client = new OpenAI({ baseURL: baseUrl, apiKey, maxRetries: 0, timeout: 600_000 });
  try {
    const models = (await client.models.list({ signal: cli.signal })).data.map(({ id }) => id);
    const model = wanted ?? models[0];
    if (!model) throw new CliError(`${baseUrl} lists no models. Name one, or configure one under "models".`);
    if (!models.includes(model)) throw await unknownModel(model, models, baseUrl);
    return { client, baseUrl, models, model, close };
  } catch (error) {
    await close();
    const own = ['TIDEGATE_API_KEY', 'OPENAI_API_KEY'].find((name) => cli.env[name] !== undefined);
    throw error instanceof CliError ? error : explain(error, baseUrl, own);
  }
}

async function unknownModel(model: string, models: readonly string[], baseUrl: string): Promise<UnknownModel> {
  const { nearestNames } = await import('../core/nearest.ts');
  const near = nearestNames(model, models);
  const hint = near.length > 0 ? `Did you mean ${near.join(' or ')}?` : `It has ${models.slice(0, 8).join(', ')}.`;
  return new UnknownModel(`${baseUrl} has no model "${model}". ${hint}`);
}

/** A failed call in words that say what to change; `keyName` is the variable that the key came from. */
export function explain(error: unknown, baseUrl: string, keyName?: string): CliError {
  const { status, message, code } = error as { status?: number; message?: string; code?: string }; // any error's fields
  if (status === 401 && keyName) return new CliError(`${baseUrl} does not know the key in ${keyName}.`);
  if (status === 401) return new CliError(`${baseUrl} wants a key: set TIDEGATE_API_KEY.`);
  if (status !== undefined) return new CliError(message ?? `${baseUrl} answered ${status}.`);
  if (error instanceof Error && /connection/i.test(error.constructor.name + error.message)) {
    return new CliError(`${baseUrl} cannot be reached. Is it running there? (tidegate serve)`);
  }
  return new CliError(message ?? code ?? String(error));
}

const baseUrlOf = (url: string): string => {
  const trimmed = url.replace(/\/+$/, '');
  return /\/v\d+$/.test(trimmed) ? trimmed : `${trimmed}/v1`;
};

/** Where a gateway with this configuration is reached from this machine; with `/v1`. */
export function addressOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}/v1`;
}

/** Whether something answers there as gateways do. */
export async function isGateway(baseUrl: string): Promise<boolean> {
  const answer = await fetch(baseUrl.replace(/\/v1$/, '/health/live'), { signal: AbortSignal.timeout(700) }).catch(
    () => undefined,
  );
  return answer?.ok === true;
}
