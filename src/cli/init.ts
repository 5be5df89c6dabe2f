import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { makeFolder } from '../core/folder.node.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { parsePort } from './flags.ts';

interface Choices {
  readonly port: number;
  readonly localModel: string | undefined;
  readonly providers: readonly ChosenProvider[];
}

interface ChosenProvider {
  /** Name and type under `providers`. */
  readonly name: string;
  readonly keyVariable: string;
  /** The upstream's model to offer under its own name; absent leaves an example in a comment. */
  readonly model: string | undefined;
}

/** Services beside those of the presets, which have a dialect of their own. */
const ownDialects = { anthropic: 'ANTHROPIC_API_KEY', gemini: 'GEMINI_API_KEY', cohere: 'COHERE_API_KEY' };

export const init: CommandFactory = (cli) =>
  new Command('init')
    .summary('write a tidegate.yaml')
    .description('Write a configuration: asks on a terminal, else takes the defaults and the provider keys it finds.')
    .option('-y, --yes', 'ask nothing')
    .option('-f, --force', 'replace an existing file')
    .option('-o, --output <file>', 'where to', 'tidegate.yaml')
    .addHelpText('after', '\nExamples:\n  tidegate init\n  OPENAI_API_KEY=sk-… tidegate init --yes')
    .action(async ({ yes, force, output }: { yes?: boolean; force?: boolean; output: string }) => {
      if (existsSync(output) && !force) throw new CliError(`${output} is there already. Replace it with --force.`);
      const found = await keysFound(cli);
      const asking = !yes && cli.stdin.isTTY === true && cli.stdout.isTTY === true;
      const { defaultModel } = await import('../models/catalogue.ts');
      const defaults: Choices = {
        port: 8787,
        localModel: defaultModel,
        providers: found.map((provider) => ({ ...provider, model: undefined })),
      };
      const choices = asking ? await askChoices(found, defaults) : defaults;
      if (!choices) throw new CliError('Nothing was written.', 130);
      const text = configText(choices, await writeSchema(output));
      await prove(cli, text, output);
      writeFileSync(output, text);
      cli.print(`${cli.paint.green('✓')} ${output}`);
      for (const { name, keyVariable } of choices.providers) cli.note(`  ${name}: its key is read from ${keyVariable}`);
      cli.note('  Serve it with "tidegate serve"; "tidegate check" looks it over.');
    });

/** Providers whose key is in the environment. Keys themselves are never written, only the variable's name. */
async function keysFound({ env }: Cli): Promise<readonly { name: string; keyVariable: string }[]> {
  const { presets } = await import('../../providers/presets.ts');
  const known = Object.entries(presets).flatMap(([name, preset]) =>
    'keyVariable' in preset ? [[name, preset.keyVariable] as const] : [],
  );
  return [...Object.entries(ownDialects), ...known]
    .filter(([name, variable]) => env[variable] && !['huggingface', 'workers-ai', 'github-models'].includes(name))
    .map(([name, keyVariable]) => ({ name, keyVariable }));
}

async function askChoices(
  found: readonly { name: string; keyVariable: string }[],
  defaults: Choices,
): Promise<Choices | undefined> {
  const { intro, isCancel, multiselect, outro, select, text } = await import('@clack/prompts');
  const { catalogue } = await import('../models/catalogue.ts');
  intro('A configuration for Tidegate');
  const localModel = await select({
    message: 'Which model should run on this machine?',
    initialValue: defaults.localModel ?? '',
    options: [
      ...catalogue
        .filter(({ kind }) => kind === 'chat')
        .map(({ name, parameters, license }) => ({ value: name, label: name, hint: `${parameters}, ${license}` })),
      { value: '', label: 'none', hint: 'upstreams only' },
    ],
  });
  if (isCancel(localModel)) return undefined;
  const names =
    found.length === 0
      ? []
      : await multiselect({
          message: 'Keys of these providers are in the environment. Which should it use?',
          required: false,
          initialValues: found.map(({ name }) => name),
          options: found.map(({ name, keyVariable }) => ({ value: name, label: name, hint: keyVariable })),
        });
  if (isCancel(names)) return undefined;
  const providers: ChosenProvider[] = [];
  for (const provider of found.filter(({ name }) => names.includes(name))) {
    const model = await text({ message: `Which model of ${provider.name}? (its own name; empty for later)` });
    if (isCancel(model)) return undefined;
    providers.push({ ...provider, model: model?.trim() || undefined });
  }
  const port = await text({
    message: 'On which port?',
    initialValue: String(defaults.port),
    validate: (value) => (/^\d+$/.test(value ?? '') && Number(value) <= 65_535 ? undefined : 'A number up to 65535.'),
  });
  if (isCancel(port)) return undefined;
  outro('Done.');
  return { port: parsePort(port), localModel: localModel || undefined, providers };
}

function configText({ port, localModel, providers }: Choices, schema: string): string {
  const offered = providers.filter(({ model }) => model);
  const models = [
    ...(localModel ? [`  ${publicNameOf(localModel)}:\n    targets: [{ local: ${localModel} }]`] : []),
    ...offered.map(
      ({ name, model }) =>
        `  ${quote(model ?? '')}:\n    targets: [{ provider: ${name}, model: ${quote(model ?? '')} }]`,
    ),
  ];
  const later = providers.filter(({ model }) => !model);
  const examples = later.map(
    ({ name }) => `  # ${name}-model:\n  #   targets: [{ provider: ${name}, model: NAME-AT-${name.toUpperCase()} }]`,
  );
  return [
    `# yaml-language-server: $schema=${schema}`,
    '# The configuration of Tidegate. Everything is optional; "tidegate check" looks it over.',
    '',
    'server:',
    '  host: 127.0.0.1',
    `  port: ${port}`,
    ...(providers.length > 0
      ? [
          '',
          '# Upstreams. Keys come from the environment and are not written here.',
          'providers:',
          ...providers.map(
            ({ name, keyVariable }) => `  ${name}:\n    type: ${name}\n    apiKey: "\${${keyVariable}}"`,
          ),
        ]
      : []),
    '',
    '# Public names and who serves them; a name that is not here is a 404.',
    ...(models.length > 0 ? ['models:', ...models, ...examples] : ['# models:', ...examples]),
    '',
  ].join('\n');
}

/** The schema of this version, beside the file's own state, so that editors complete and check it without a network. */
async function writeSchema(output: string): Promise<string> {
  const { configJsonSchema } = await import('./config.ts');
  const folder = join(dirname(output), '.tidegate');
  makeFolder(folder);
  writeFileSync(join(folder, 'tidegate.schema.json'), `${await configJsonSchema()}\n`);
  return '.tidegate/tidegate.schema.json';
}

/** What is written must be valid: it goes through the same door as any configuration. */
async function prove(cli: Cli, text: string, name: string): Promise<void> {
  const { parseConfig } = await import('../config-text.ts');
  await parseConfig(text, name, { env: cli.env });
}

const publicNameOf = (localModel: string): string => localModel.replace(/-\d+(\.\d+)?[mb]-instruct$/i, '');
const quote = (text: string): string => (/^[\w.-]+$/.test(text) ? text : JSON.stringify(text));
