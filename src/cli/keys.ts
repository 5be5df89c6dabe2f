import { Command, InvalidArgumentError, Option } from 'commander';
import type { CallerLimits } from '../core/run.ts';
import { parseDurationMs } from '../core/units.ts';
import type { KeyAdmin, KeyView } from '../policy/key-admin.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { repeated, wholeNumber } from './flags.ts';
import { formatAge, formatTable } from './format.ts';
import { actorOf, withLedger } from './ledger-access.ts';

export const keys: CommandFactory = (cli) => {
  const command = new Command('keys')
    .summary('make, list, rotate and revoke API keys')
    .description(
      'API keys of the gateway. A key is shown once and kept as a hash. The gateway is open until there is one.',
    );
  const config = () => new Option('-c, --config <file>', 'configuration file (tidegate.yaml in this folder, if there)');
  command
    .command('create')
    .description('Make a key and print it.')
    .requiredOption('-n, --name <name>', 'what or who it is for')
    .addOption(new Option('--role <role>', 'admin keys manage keys and see everything').choices(['caller', 'admin']))
    .option('--team <team>', 'whose limits and budgets it shares')
    .option('--owner <owner>', 'person or system behind it')
    .option('--tag <tag>', 'for reports; may be repeated', repeated, [])
    .option('--models <names>', 'models it may use, with commas; an entry may end in *', list)
    .option('--endpoints <paths>', 'paths it may call, with commas', list)
    .option('--expires <when>', 'a duration or a date: 90d, 2027-01-31', expiry)
    .option('--rpm <n>', 'requests per minute', wholeNumber(1))
    .option('--tpm <n>', 'tokens per minute', wholeNumber(1))
    .option('--streams <n>', 'answers under way at once', wholeNumber(1))
    .addOption(
      new Option('--priority <class>', 'the most urgent it may ask for').choices(['interactive', 'normal', 'batch']),
    )
    .option('--json', 'print JSON')
    .addOption(config())
    .addHelpText(
      'after',
      '\nExamples:\n  tidegate keys create --name laptop\n  tidegate keys create --name ops --role admin\n' +
        '  tidegate keys create --name batch --team research --models "qwen*" --rpm 60 --expires 90d',
    )
    .action((options: CreateOptions) => create(cli, options));
  command
    .command('list', { isDefault: true })
    .alias('ls')
    .description('List keys.')
    .option('--json', 'print JSON')
    .addOption(config())
    .action((options: CommonOptions) => show(cli, options));
  command
    .command('rotate')
    .description('Give a key a new secret.')
    .argument('<id>', 'as the list shows it')
    .option('--overlap <time>', 'how long the old secret goes on working: 24h', duration)
    .option('--json', 'print JSON')
    .addOption(config())
    .addHelpText('after', '\nExample:\n  tidegate keys rotate key_aB3… --overlap 24h')
    .action((id: string, options: CommonOptions & { overlap?: number }) => rotate(cli, id, options));
  command
    .command('revoke')
    .description('End a key. Running gateways refuse it within seconds.')
    .argument('<id>', 'as the list shows it')
    .addOption(config())
    .action((id: string, options: CommonOptions) => revoke(cli, id, options));
  return command.addHelpText('after', '\nExamples:\n  tidegate keys create --name laptop\n  tidegate keys list');
};

interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
}

interface CreateOptions extends CommonOptions {
  readonly name: string;
  readonly role?: string;
  readonly team?: string;
  readonly owner?: string;
  readonly tag: readonly string[];
  readonly models?: readonly string[];
  readonly endpoints?: readonly string[];
  readonly expires?: number;
  readonly rpm?: number;
  readonly tpm?: number;
  readonly streams?: number;
  readonly priority?: string;
}

async function withAdmin<T>(
  cli: Cli,
  { config: file }: CommonOptions,
  make: boolean,
  use: (admin: KeyAdmin) => Promise<T>,
) {
  const [{ createKeyAdmin }, { nodeDigest }, { GatewayError }, { fixedKeys }] = await Promise.all([
    import('../policy/key-admin.ts'),
    import('../core/digest.node.ts'),
    import('../core/errors.ts'),
    import('../policy/fixed-keys.ts'),
  ]);
  return withLedger(cli, file, { create: make }, async (ledger, config) => {
    const digest = nodeDigest(config.keys.pepper);
    const fixed = await fixedKeys(config.keys.fixed, digest);
    try {
      return await use(createKeyAdmin({ keys: ledger.keys, audit: ledger.audit, digest, fixed }));
    } catch (error) {
      throw error instanceof GatewayError ? new CliError(error.message) : error;
    }
  });
}

async function create(cli: Cli, options: CreateOptions): Promise<void> {
  const { rpm, tpm, streams, tag, expires, config: _, json, ...rest } = options;
  const limits: CallerLimits = {
    ...(rpm !== undefined && { requestsPerMinute: rpm }),
    ...(tpm !== undefined && { tokensPerMinute: tpm }),
    ...(streams !== undefined && { streams }),
  };
  const wish = {
    ...rest,
    ...(tag.length > 0 && { tags: tag }),
    ...(expires !== undefined && { expiresAt: expires }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
  const { secret, key } = await withAdmin(cli, options, true, (admin) => admin.create(wish, actorOf(cli)));
  tell(cli, secret, key, { json });
}

async function rotate(cli: Cli, id: string, options: CommonOptions & { overlap?: number }): Promise<void> {
  const { secret, key } = await withAdmin(cli, options, false, (admin) =>
    admin.rotate(id, options.overlap ?? 0, actorOf(cli)),
  );
  tell(cli, secret, key, options);
}

/** The secret goes to stdout alone, so that `KEY=$(tidegate keys create …)` works. */
function tell(cli: Cli, secret: string, key: KeyView, { json }: { readonly json?: boolean | undefined }): void {
  if (json) {
    cli.print(JSON.stringify({ ...key, key: secret }, null, 2));
    return;
  }
  cli.note(`${cli.paint.green('✓')} ${key.name} (${key.id}). Copy the key now, it cannot be shown again:`);
  cli.print(secret);
}

async function revoke(cli: Cli, id: string, options: CommonOptions): Promise<void> {
  const { name } = await withAdmin(cli, options, false, (admin) => admin.revoke(id, actorOf(cli)));
  cli.note(`${cli.paint.green('✓')} ${name} (${id}) is revoked. Running gateways refuse it within seconds.`);
}

async function show(cli: Cli, options: CommonOptions): Promise<void> {
  const found = await withAdmin(cli, options, false, (admin) => admin.list());
  if (options.json) {
    cli.print(JSON.stringify(found, null, 2));
    return;
  }
  if (found.length === 0) {
    cli.print('No keys: the gateway is open to everybody on this machine.');
    return;
  }
  const now = Date.now();
  const state = (key: (typeof found)[number]) => {
    if (key.revokedAt !== undefined) return cli.paint.dim('revoked');
    if (key.expiresAt === undefined) return 'active';
    return key.expiresAt <= now
      ? cli.paint.dim('expired')
      : `until ${new Date(key.expiresAt).toISOString().slice(0, 10)}`;
  };
  const rows = found.map((key) => [
    key.id,
    key.name,
    key.hint,
    key.role,
    key.team ?? '',
    key.models?.join(' ') ?? 'all',
    key.fixed ? 'in the file' : formatAge(key.createdAt, now),
    state(key),
  ]);
  cli.print(
    formatTable([['ID', 'NAME', 'KEY', 'ROLE', 'TEAM', 'MODELS', 'MADE', 'STATE'].map(cli.paint.bold), ...rows]),
  );
}

const list = (text: string): readonly string[] => text.split(/[\s,]+/).filter(Boolean);

function duration(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === undefined) throw new InvalidArgumentError('Write a duration: 30m, 24h, 7d.');
  return ms;
}

function expiry(text: string): number {
  const ms = parseDurationMs(text);
  const at = ms === undefined ? Date.parse(text) : Date.now() + ms;
  if (!Number.isFinite(at)) throw new InvalidArgumentError('Write a duration or a date: 90d, 2027-01-31.');
  return at;
}
