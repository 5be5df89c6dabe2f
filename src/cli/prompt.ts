import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { GatewayError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import type { PromptLibrary, RenderedPrompt } from '../prompts/library.ts';
import type { PromptVersion } from '../prompts/source.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';

interface RenderOptions {
  readonly directory: string;
  readonly version?: string;
  readonly var: Readonly<Record<string, Json>>;
  readonly json?: boolean;
}

/** It need not be there. */
const defaultDirectory = 'prompts';

/** `tidegate prompt`: the prompt library without a running gateway. */
export const prompt: CommandFactory = (cli) => {
  const directory = () => new Option('-d, --directory <folder>', 'the prompt library').default(defaultDirectory);
  return new Command('prompt')
    .summary('list, render and test prompts of the library')
    .description('Look at the prompt library: what it holds, what a prompt renders to, and whether its own tests pass.')
    .addHelpText(
      'after',
      `
Examples:
  tidegate prompt list
  tidegate prompt render chat/translate --var language=French --var text="Good morning"
  tidegate prompt test`,
    )
    .addCommand(
      new Command('list')
        .description('List prompts, versions and variables.')
        .addOption(directory())
        .option('--json', 'print JSON')
        .action(async (options: { directory: string; json?: boolean }) => {
          const { prompts } = await openLibrary(options.directory);
          const rows = prompts.map(({ id, version, weight, description, variables }) => ({
            ...{ id, version, weight, description },
            variables: Object.keys(variables),
          }));
          if (options.json) cli.print(JSON.stringify(rows, null, 2));
          else
            for (const row of rows)
              cli.print(`${cli.paint.bold(`${row.id}@${row.version}`)}  ${row.description ?? ''}`);
        }),
    )
    .addCommand(
      new Command('render')
        .description('Print the messages that a prompt becomes.')
        .argument('<id>', 'the prompt: chat/translate, or chat/translate@2 for a version')
        .addOption(directory())
        .option('--version <version>', 'a version; the newest or a draw by weight if absent')
        .option('--var <name=value...>', 'a variable; the value is JSON where it reads as JSON', variableOf, {})
        .option('--json', 'print the request as JSON')
        .action(async (id: string, options: RenderOptions) => {
          const library = await openLibrary(options.directory);
          const [name = id, version] = id.split('@');
          const chosen = options.version ?? version;
          const rendered = library.render({
            id: name,
            variables: options.var,
            ...(chosen !== undefined && { version: chosen }),
          });
          showRendered(cli, rendered, options.json ?? false);
        }),
    )
    .addCommand(
      new Command('test')
        .description('Run the tests in the front matter of prompts.')
        .argument('[id]', 'one prompt; all if absent')
        .addOption(directory())
        .action(async (id: string | undefined, options: { directory: string }) => {
          const library = await openLibrary(options.directory);
          const chosen = library.prompts.filter((version) => id === undefined || version.id === id.split('@')[0]);
          if (chosen.length === 0) throw new CliError(`There is no prompt '${id}' in ${options.directory}.`);
          const failed = chosen.flatMap((version) => testPrompt(cli, library, version));
          cli.print(
            `${chosen.reduce((sum, { tests }) => sum + tests.length, 0) - failed.length} passed, ${failed.length} failed`,
          );
          if (failed.length > 0) throw new CliError('some prompts do not do what their tests say');
        }),
    );
};

/** The package's own prompts, and over them those of the folder. */
async function openLibrary(directory: string): Promise<PromptLibrary> {
  if (directory !== defaultDirectory && !existsSync(directory)) throw new CliError(`There is no folder ${directory}.`);
  const [{ createLibrary }, { readPromptFiles }] = await Promise.all([
    import('../prompts/library.ts'),
    import('../prompts/files.node.ts'),
  ]);
  return createLibrary(readPromptFiles(fileURLToPath(new URL('../prompts/', import.meta.url)), directory)); // dist/ → the package
}

function variableOf(text: string, before: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> {
  const at = text.indexOf('=');
  if (at < 1) throw new CliError(`--var needs NAME=VALUE, not '${text}'.`, 2);
  const value = text.slice(at + 1);
  return {
    ...before,
    [text.slice(0, at)]: value.startsWith('@') ? readFileSync(value.slice(1), 'utf8') : jsonOr(value),
  };
}

function jsonOr(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

function showRendered(cli: Cli, { id, version, model, parameters, messages }: RenderedPrompt, json: boolean): void {
  if (json) {
    const body = {
      ...(model !== undefined && { model }),
      ...parameters,
      messages: messages.map(({ role, text }) => ({ role, content: text })),
    };
    cli.print(JSON.stringify(body, null, 2));
    return;
  }
  cli.note(`${id}@${version}`);
  for (const { role, text } of messages) cli.print(`${cli.paint.bold(`@${role}`)}\n${text}\n`);
}

/** The tests that failed; each is told. */
function testPrompt(cli: Cli, library: PromptLibrary, { id, version, tests }: PromptVersion): readonly string[] {
  return tests.flatMap((wanted, index) => {
    const name = `${id}@${version} #${index + 1}`;
    const problem = problemOf(library, id, version, wanted);
    cli.print(
      problem === undefined ? `${cli.paint.green('ok')}   ${name}` : `${cli.paint.red('FAIL')} ${name}: ${problem}`,
    );
    return problem === undefined ? [] : [name];
  });
}

function problemOf(
  library: PromptLibrary,
  id: string,
  version: string,
  { variables, contains, refuses }: PromptVersion['tests'][number],
): string | undefined {
  try {
    const { messages } = library.render({ id, version, variables: variables as Record<string, Json> }); // z.json values
    if (refuses !== undefined) return `accepts its variable '${refuses}'`;
    const text = messages.map((message) => message.text).join('\n');
    const missing = contains?.find((piece) => !text.includes(piece));
    return missing === undefined ? undefined : `does not contain '${missing}'`;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return refuses !== undefined && error.param === `prompt.variables.${refuses}` ? undefined : error.message;
  }
}
