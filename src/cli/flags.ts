import { type Command, InvalidArgumentError } from 'commander';

/** What every command takes that starts a gateway of its own. */
export interface GatewayFlags {
  readonly config?: string;
  readonly host?: string;
  readonly port?: number;
  /** Public name → local model, beside those of the configuration. */
  readonly model: Readonly<Record<string, string>>;
}

/** What may be said of a gateway on the command line, over its configuration file. */
export function withGatewayFlags(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file (tidegate.yaml in this folder, if there)')
    .option('--host <host>', 'address to listen on')
    .option('-p, --port <port>', 'port to listen on; 0 takes a free one', parsePort)
    .option('-m, --model <[name=]model>', 'serve this local model too; may be repeated', addModel, {});
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is a number from 0 to 65535.');
  return port;
}

export function parseUrl(text: string): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('An address such as http://127.0.0.1:8787.');
  }
  return text;
}

/** An option that may be given several times. */
export const repeated = (text: string, before: readonly string[]): readonly string[] => [...before, text];

/** A whole number of at least `least`. */
export const wholeNumber = (least: number) => (text: string) => {
  if (!/^\d+$/.test(text) || Number(text) < least) {
    throw new InvalidArgumentError(`A whole number from ${least} up.`);
  }
  return Number(text);
};

/** `NAME=MODEL`, or a model whose public name is its file's. */
function addModel(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const named = /^([\w.-]+)=(.+)$/.exec(text);
  if (named?.[1] && named[2]) return { ...before, [named[1]]: named[2] };
  return { ...before, [publicName(text)]: text };
}

/** `hf:OWNER/REPO/File-Q4.gguf` → `file-q4`; a catalogue name stays itself. */
export function publicName(reference: string): string {
  const last =
    reference
      .replace(/[?#].*$/, '')
      .split(/[\\/]/)
      .at(-1) ?? reference;
  return last
    .replace(/\.gguf$/i, '')
    .replace(/:[^:]*$/, '')
    .toLowerCase();
}
