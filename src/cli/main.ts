import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { nearestNames } from '../core/nearest.ts';
import { reasonOf } from '../node/system-error.ts';
import { type Cli, CliError, processCli } from './cli.ts';
import { commandGroups } from './commands.ts';
import { answerCompletion } from './completion.ts';

/** Under `npm start` one Ctrl-C comes twice, from the terminal and from npm. */
const sameSignalMs = 200;

const shellCheckMs = 250;

/**
 * npm and npx run a command in a shell and pass SIGTERM on to that alone, so that the command would serve on with nobody
 * to end it: the end of its shell is taken for the signal. Not where the script leaves the command behind on purpose.
 */
function onLostShell(script: string | undefined, end: () => void): void {
  if (!script?.includes('tidegate') || script.includes('&')) return;
  const shell = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(timer);
    end();
  }, shellCheckMs);
  timer.unref();
}

/** Runs the command line; resolves with the exit code: 0 done, 1 failed, 2 wrongly called, 130 interrupted. */
export async function main(args: readonly string[]): Promise<number> {
  const interrupt = new AbortController();
  let firstMs: number | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    const now = performance.now();
    firstMs ??= now;
    if (!interrupt.signal.aborted) interrupt.abort(name);
    else if (now - firstMs > sameSignalMs) process.exit(name === 'SIGTERM' ? 143 : 130);
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  onLostShell(process.env['npm_lifecycle_script'], () => interrupt.abort('SIGTERM'));
  const cli = processCli(interrupt.signal);
  try {
    const program = createProgram(cli);
    if (args.length === 0) program.outputHelp();
    else if (args[0] === 'complete' && args[1] === '--') await answerCompletion(cli, program, args.slice(2));
    else await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (interrupt.signal.aborted) return 130;
    return report(cli, error);
  }
}

export function createProgram(cli: Cli): Command {
  const program = new Command('tidegate')
    .description('One OpenAI-compatible address for local models and every provider.')
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError('(add --help for what is possible)')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText(
      'after',
      `
Examples:
  tidegate serve                          serve http://127.0.0.1:8787/v1 with the default model
  tidegate run smollm2 "Say hello."       answer one prompt
  tidegate chat                           chat in the terminal
  tidegate check                          look at this machine and the configuration`,
    );
  for (const { title, commands } of commandGroups) {
    for (const create of commands) program.addCommand(create(cli).helpGroup(title));
  }
  settle(program, program, cli);
  return program;
}

/** The same behaviour for every command, however deep: errors are thrown, colours are ours. */
function settle(command: Command, program: Command, cli: Cli): void {
  if (command !== program) command.copyInheritedSettings(program);
  command.exitOverride().configureOutput({
    writeOut: (text) => cli.stdout.write(text),
    writeErr: (text) => cli.stderr.write(text),
    outputError: (text, write) => write(text.replace(/^error:/, cli.paint.red('error:'))),
  });
  for (const option of command.options) if (isNothing(option.defaultValue)) option.default(option.defaultValue, 'none');
  if (command.commands.length > 0) command.hook('preSubcommand', refuseUnknown);
  for (const child of command.commands) settle(child, program, cli);
}

/** A group that lists when nothing else is asked for would take a mistyped name for an argument of its list. */
function refuseUnknown(group: Command, chosen: Command): void {
  const [word] = group.args;
  if (word === undefined || word.startsWith('-') || [chosen.name(), ...chosen.aliases()].includes(word)) return;
  const names = group.commands.map((command) => command.name());
  const [near] = nearestNames(word, names, 1);
  group.error(
    `error: unknown command '${word}'\n${near ? `(Did you mean ${near}?)` : `(There are ${names.join(', ')}.)`}`,
    { code: 'commander.unknownCommand' },
  );
}

/** The empty start of what may be given again and again: help need not say `{}`. */
const isNothing = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0;

function report(cli: Cli, error: unknown): number {
  const reason = reasonOf(error);
  cli.note(`${cli.paint.red('error:')} ${reason}`);
  if (cli.env['TIDEGATE_DEBUG'] && error instanceof Error) cli.note(error.stack ?? '');
  else if (error instanceof Error && error.constructor === Error && error.message === reason)
    cli.note('(TIDEGATE_DEBUG=1 shows where it happened)');
  return error instanceof CliError ? error.exitCode : 1;
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8'); // dist/main.js → the package
  return (JSON.parse(text) as { version: string }).version; // our own file
}
