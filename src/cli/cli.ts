import { styleText } from 'node:util';
import type { Command } from 'commander';

/** What a command may touch of the outside: its streams, the environment, and the signal that Ctrl-C aborts. */
export interface Cli {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Aborts at the first Ctrl-C or SIGTERM; the second ends the process. */
  readonly signal: AbortSignal;
  /** Results, for people and pipes. */
  print(text: string): void;
  /** Progress and remarks, beside the results. */
  note(text: string): void;
  readonly paint: Paint;
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
export type Paint = Readonly<Record<Style, (text: string) => string>>;

/** A subcommand: one file each in this folder, listed in commands.ts. Heavy parts are imported inside its action. */
export type CommandFactory = (cli: Cli) => Command;

/** Ends the command with this exit code and message: 1 failed, 2 wrongly called. */
export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}

/** The Cli of this process. */
export function processCli(signal: AbortSignal): Cli {
  const { env, stdin, stdout, stderr } = process;
  // A reader that has seen enough (`| head`) is no failure.
  stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return {
    ...{ env, stdin, stdout, stderr, signal },
    print: (text) => stdout.write(`${text}\n`),
    note: (text) => stderr.write(`${text}\n`),
    paint: painter(useColor(env, stdout)),
  };
}

/** NO_COLOR and FORCE_COLOR as their conventions say; else colour where a terminal shows it. */
function useColor(env: Cli['env'], stream: { isTTY?: boolean }): boolean {
  if (env['NO_COLOR']) return false;
  if (env['FORCE_COLOR']) return env['FORCE_COLOR'] !== '0';
  return stream.isTTY === true && env['TERM'] !== 'dumb';
}

function painter(color: boolean): Paint {
  const style = (name: Style) => (text: string) => (color ? styleText(name, text, { validateStream: false }) : text);
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  };
}
