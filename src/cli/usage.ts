import { Command, Option } from 'commander';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { formatTable } from './format.ts';
import { withLedger } from './ledger-access.ts';

interface UsageOptions {
  readonly from?: string;
  readonly to?: string;
  readonly by: string;
  readonly key?: string;
  readonly team?: string;
  readonly model?: string;
  readonly csv?: boolean;
  readonly json?: boolean;
  readonly config?: string;
}

export const usage: CommandFactory = (cli) =>
  new Command('usage')
    .summary('requests, tokens and money')
    .description('What was used, from the ledger. The last 30 days, by day and model, unless told otherwise.')
    .option('--from <time>', 'a date, or a duration back from now: 2027-01-31, 7d')
    .option('--to <time>', 'the same')
    .option('--by <groups>', 'day, key, team, model, target, endpoint, user, outcome; with commas', 'day,model')
    .option('--key <id>', 'this key only')
    .option('--team <team>', 'this team only')
    .option('--model <model>', 'this model only')
    .option('--csv', 'print CSV')
    .option('--json', 'print JSON')
    .addOption(new Option('-c, --config <file>', 'configuration file (tidegate.yaml in this folder, if there)'))
    .addHelpText(
      'after',
      '\nExamples:\n  tidegate usage\n  tidegate usage --from 7d --by team,model\n  tidegate usage --by day,key --csv > usage.csv',
    )
    .action((options: UsageOptions) => show(cli, options));

async function show(cli: Cli, options: UsageOptions): Promise<void> {
  const [{ csv, parseUsageQuery, usageRows }, { GatewayError }] = await Promise.all([
    import('../policy/reports.ts'),
    import('../core/errors.ts'),
  ]);
  const query = (() => {
    try {
      return parseUsageQuery(options, Date.now());
    } catch (error) {
      throw error instanceof GatewayError ? new CliError(error.message, 2) : error;
    }
  })();
  const sums = await withLedger(cli, options.config, { create: false }, (ledger) => ledger.usage.sum(query));
  if (options.json) {
    cli.print(JSON.stringify(sums, null, 2));
    return;
  }
  const [head = [], ...rows] = usageRows(query.groupBy, sums);
  if (options.csv) {
    cli.stdout.write(csv([head, ...rows]));
    return;
  }
  if (rows.length === 0) {
    cli.print('Nothing was used in this time.');
    return;
  }
  const total = sums.reduce((sum, { costUsd }) => sum + costUsd, 0);
  const right = head.flatMap((_, column) => (column >= query.groupBy.length ? [column] : []));
  const titles = head.map((name) => cli.paint.bold(name.replaceAll('_', ' ').toUpperCase()));
  cli.print(formatTable([titles, ...rows.map((row) => row.map(printable))], right));
  cli.print(`\nTogether $${total.toFixed(6)}`);
}

/** End users' names come from clients: what would move the cursor or colour the terminal is shown as a space. */
const printable = (cell: string): string => cell.replace(/[\p{Cc}\p{Cf}]/gu, ' ');
