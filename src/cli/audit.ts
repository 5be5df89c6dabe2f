import { Command, InvalidArgumentError, Option } from 'commander';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { wholeNumber } from './flags.ts';
import { formatTable } from './format.ts';
import { withLedger } from './ledger-access.ts';

interface AuditOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly limit?: number;
  readonly action?: string;
  readonly head?: { readonly seq: number; readonly hash: string };
}

export const audit: CommandFactory = (cli) => {
  const command = new Command('audit')
    .summary('who did what, and whether the record was touched')
    .description('The audit trail in the ledger: each row holds the hash of the row before.');
  const config = () => new Option('-c, --config <file>', 'configuration file (tidegate.yaml in this folder, if there)');
  command
    .command('list', { isDefault: true })
    .description('Print the newest rows.')
    .option('--limit <n>', 'how many', wholeNumber(1))
    .option('--action <action>', 'only these: request, key.create, key.rotate, key.revoke, …')
    .option('--json', 'print JSON')
    .addOption(config())
    .action((options: AuditOptions) => show(cli, options));
  command
    .command('verify')
    .description('Recompute the chain: a changed or removed row shows. Exits with 1 where it is broken.')
    .option('--head <seq:hash>', 'a head that an earlier verify printed, so that a cut-off end shows too', parseHead)
    .option('--json', 'print JSON')
    .addOption(config())
    .addHelpText('after', '\nExamples:\n  tidegate audit verify\n  tidegate audit verify --head 1041:5d9c…')
    .action((options: AuditOptions) => verify(cli, options));
  return command;
};

async function verify(cli: Cli, options: AuditOptions): Promise<void> {
  const verdict = await withLedger(cli, options.config, { create: false }, (ledger) =>
    ledger.audit.verify(options.head),
  );
  if (options.json) cli.print(JSON.stringify(verdict, null, 2));
  if (!verdict.intact) throw new CliError(`The audit trail is broken at row ${verdict.seq}: ${verdict.reason}.`);
  if (options.json) return;
  cli.print(`${cli.paint.green('✓')} ${verdict.rows} rows, each follows from the one before.`);
  cli.print(`Head ${verdict.head.seq}:${verdict.head.hash}`);
  cli.note('Keep the head somewhere else: with --head it shows whether the end was cut off since.');
}

async function show(cli: Cli, { config, json, limit = 50, action }: AuditOptions): Promise<void> {
  const query = { limit, ...(action !== undefined && { action }) };
  const rows = await withLedger(cli, config, { create: false }, (ledger) => ledger.audit.list(query));
  if (json) {
    cli.print(JSON.stringify(rows, null, 2));
    return;
  }
  const cells = rows.map((row) => [
    String(row.seq),
    new Date(row.at).toISOString().replace('T', ' ').slice(0, 19),
    row.actor,
    row.action,
    row.subject,
    row.detail.length > 80 ? `${row.detail.slice(0, 79)}…` : row.detail,
  ]);
  cli.print(formatTable([['ROW', 'TIME (UTC)', 'WHO', 'ACTION', 'WHAT', 'DETAIL'].map(cli.paint.bold), ...cells]));
}

function parseHead(text: string): { seq: number; hash: string } {
  const [, seq, hash] = /^(\d+):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined)
    throw new InvalidArgumentError('A head is ROW:HASH, as verify prints it.');
  return { seq: Number(seq), hash };
}
