import { Command } from 'commander';
import type { Cli, CommandFactory } from './cli.ts';
import { formatAge, formatBytes, formatTable } from './format.ts';

export const models: CommandFactory = (cli) => {
  const command = new Command('models').summary('list and remove models').description('The models on this machine.');
  const list = (options: ListOptions) => listModelsCommand(cli, options);
  command
    .command('list', { isDefault: true })
    .alias('ls')
    .description('List the models of the cache with their sizes.')
    .option('--all', 'also those that can be pulled by name')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  tidegate models\n  tidegate models --all\n  tidegate models --json | jq .')
    .action(list);
  command
    .command('rm')
    .description('Delete models from the cache. A file that lies elsewhere is only forgotten.')
    .argument('<model...>', 'names as the list shows them')
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', '\nExamples:\n  tidegate models rm qwen3-0.6b\n  tidegate models rm --yes smollm2 qwen3')
    .action((names: string[], options: { yes?: boolean }) => removeModelsCommand(cli, names, options));
  command
    .command('path')
    .description('Print the path of a model file.')
    .argument('<model>')
    .addHelpText('after', '\nExample:\n  llama-server -m "$(tidegate models path smollm2)"')
    .action((name: string) => printPath(cli, name));
  return command.addHelpText('after', '\nExamples:\n  tidegate models\n  tidegate models rm smollm2');
};

interface ListOptions {
  readonly all?: boolean;
  readonly json?: boolean;
}

async function listModelsCommand(cli: Cli, { all, json }: ListOptions): Promise<void> {
  const [{ listModels }, { modelSettings }, { catalogue }] = await Promise.all([
    import('../models/cache.ts'),
    import('../models/settings.ts'),
    import('../models/catalogue.ts'),
  ]);
  const settings = modelSettings(cli.env);
  const here = await listModels(settings);
  const more = all ? catalogue.filter(({ name }) => !here.some((model) => model.name === name)) : [];
  if (json) {
    cli.print(JSON.stringify([...here, ...more], null, 2));
    return;
  }
  const { dim, bold } = cli.paint;
  if (here.length + more.length === 0) {
    cli.print(
      `No models in ${settings.folder}.\nFetch one with "tidegate pull smollm2"; "tidegate models --all" names more.`,
    );
    return;
  }
  const now = Date.now();
  const rows = [
    ['NAME', 'SIZE', 'QUANT', 'LICENCE', 'FROM', 'FETCHED'].map(bold),
    ...here.map((model) => [
      model.name,
      formatBytes(model.bytes),
      model.quantization || '-',
      model.license || '-',
      model.source,
      formatAge(model.pulledAt, now),
    ]),
    ...more.map(({ name, bytes, quantization, license }) =>
      [name, bytes ? formatBytes(bytes) : '-', quantization, license, 'not here', ''].map(dim),
    ),
  ];
  cli.print(formatTable(rows, [1]));
  const total = here.filter(({ owned }) => owned).reduce((sum, { bytes }) => sum + bytes, 0);
  cli.print(dim(`${formatBytes(total)} in ${settings.folder}`));
}

async function removeModelsCommand(cli: Cli, names: readonly string[], { yes }: { yes?: boolean }): Promise<void> {
  const [{ removeModel }, { modelSettings }] = await Promise.all([
    import('../models/cache.ts'),
    import('../models/settings.ts'),
  ]);
  if (!yes && cli.stdin.isTTY && cli.stdout.isTTY) {
    const [{ confirm, isCancel }, { CliError }] = await Promise.all([import('@clack/prompts'), import('./cli.ts')]);
    const sure = await confirm({ message: `Delete ${names.join(', ')}?` });
    if (isCancel(sure)) throw new CliError('Nothing was deleted.', 130);
    if (!sure) return;
  }
  for (const name of names) {
    const { name: removed, bytes, owned, path } = await removeModel(name, modelSettings(cli.env));
    cli.print(owned ? `Removed ${removed}, ${formatBytes(bytes)} free again.` : `Forgot ${removed}; ${path} stays.`);
  }
}

async function printPath(cli: Cli, name: string): Promise<void> {
  const [{ findModel }, { modelSettings }, { CliError }] = await Promise.all([
    import('../models/cache.ts'),
    import('../models/settings.ts'),
    import('./cli.ts'),
  ]);
  const model = await findModel(name, modelSettings(cli.env));
  if (!model) throw new CliError(`${name} is not here. Fetch it with "tidegate pull ${name}".`);
  cli.print(model.path);
}
