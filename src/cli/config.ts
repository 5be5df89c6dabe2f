import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type * as z from 'zod';
import { writtenBytes, writtenDuration } from '../core/units.ts';
import type { CommandFactory } from './cli.ts';
import { formatTable } from './format.ts';

export const config: CommandFactory = (cli) => {
  const command = new Command('config')
    .summary('show, check and describe the configuration')
    .description('The configuration in force, and the JSON Schema of its file.');
  command
    .command('show')
    .description('Print every value in force and where it comes from; secrets are hidden.')
    .argument('[file]', 'configuration file', 'tidegate.yaml')
    .option('-c, --config <file>', 'the same, as other commands take it')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  tidegate config show\n  tidegate config show staging.yaml --json')
    .action(async (argument: string, { json, config: file = argument }: { json?: boolean; config?: string }) => {
      const [{ createSettings }, { readConfig }] = await Promise.all([
        import('../node/settings.ts'),
        import('./serve.ts'),
      ]);
      const text = readText(file, file === 'tidegate.yaml');
      const values = await createSettings({
        config: await readConfig(cli, text === undefined ? undefined : file),
        env: cli.env,
        ...(text === undefined ? {} : { file: { path: file, text } }),
      }).show();
      if (json) cli.print(JSON.stringify(values, null, 2));
      else cli.print(formatTable(values.values.map(({ path, value, origin }) => [path, value, cli.paint.dim(origin)])));
    });
  command
    .command('check')
    .description('Say whether a configuration file can be used, with the line of each problem.')
    .argument('[file]', 'configuration file', 'tidegate.yaml')
    .option('-c, --config <file>', 'the same, as other commands take it')
    .addHelpText('after', '\nExample:\n  tidegate config check staging.yaml')
    .action(async (argument: string, { config: file = argument }: { config?: string }) => {
      const { loadConfig } = await import('../node/config-file.ts');
      await loadConfig(resolve(file), cli.env);
      cli.print(`${cli.paint.green('✓')} ${file} is valid`);
    });
  command
    .command('schema')
    .description('Print the JSON Schema of tidegate.yaml: completion and checks in editors.')
    .addHelpText('after', '\nExample:\n  tidegate config schema > tidegate.schema.json')
    .action(async () => cli.print(await configJsonSchema()));
  command
    .command('reference')
    .description('Print every setting with its default and meaning, as Markdown.')
    .addHelpText('after', '\nExample:\n  tidegate config reference | less')
    .action(async () => {
      const [{ configReference }, { configSchema }] = await Promise.all([
        import('./config-reference.ts'),
        import('../config.ts'),
      ]);
      cli.print(configReference(JSON.parse(JSON.stringify(jsonSchema(configSchema())))));
    });
  return command;
};

/** As text; `init` puts it beside the file it writes. */
export async function configJsonSchema(): Promise<string> {
  const { configSchema } = await import('../config.ts');
  const { $schema, ...rest } = jsonSchema(configSchema(), (field) => {
    tellDefault(field);
    orFilledIn(field);
  });
  return JSON.stringify({ $schema, title: 'tidegate.yaml', ...rest }, null, 2);
}

type Override = NonNullable<NonNullable<Parameters<z.ZodType['toJSONSchema']>[0]>['override']>;

const jsonSchema = (schema: z.ZodType, override: Override = tellDefault) =>
  schema.toJSONSchema({ io: 'input', unrepresentable: 'any', override });

/** Zod leaves out the defaults of durations and sizes, since those are no longer as they are written. */
const tellDefault: Override = ({ zodSchema: { _zod: zod }, jsonSchema: schema }) => {
  if (zod.def.type !== 'default' || schema.default !== undefined) return;
  const { defaultValue } = zod.def as z.core.$ZodDefaultDef; // as its type says
  const asWritten = schema.title === 'size' ? writtenBytes : writtenDuration;
  schema.default = typeof defaultValue === 'number' && defaultValue > 0 ? asWritten(defaultValue) : defaultValue;
};

/** Wherever the gateway takes a single value it takes `${NAME}` too, and editors should not underline it. */
const orFilledIn: Override = ({ jsonSchema: schema }) => {
  const { title, description, default: absent, ...bounds } = schema;
  const isText =
    bounds.type === 'string' && !bounds.enum && !bounds.pattern && !bounds.format && (bounds.minLength ?? 0) < 2;
  const isSingle = ['string', 'number', 'integer', 'boolean'].includes(String(bounds.type));
  if (!isSingle || isText || bounds.const !== undefined) return;
  for (const key of Object.keys(bounds)) Reflect.deleteProperty(schema, key);
  schema.anyOf = [bounds, { type: 'string', pattern: String.raw`\$\{[^}]+\}` }];
};

function readText(file: string, mayBeAbsent: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (mayBeAbsent && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
