import { addAbortSignal } from 'node:stream';
import { Command } from 'commander';
import { type AnswerOptions, formatStats, streamAnswer, type Turn, withAnswerFlags } from './answer.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { type ConnectFlags, connect, withConnectFlags } from './connect.ts';

interface RunFlags extends ConnectFlags, AnswerOptions {
  readonly system?: string;
  readonly verbose?: boolean;
  readonly jsonOutput?: boolean;
}

export const run: CommandFactory = (cli) =>
  withConnectFlags(
    withAnswerFlags(
      new Command('run')
        .summary('answer one prompt')
        .description('Answer one prompt and end. What is piped in is added to the prompt.')
        .argument('<model>', 'a public model name, or a local model: NAME, hf:OWNER/REPO/FILE, PATH')
        .argument('[prompt...]', 'the prompt; without one and without a pipe a chat begins'),
    ),
  )
    .option('-v, --verbose', 'say tokens, time to the first one and speed')
    .option('--json', 'ask for JSON as the answer')
    .option('--json-output', 'print answer and figures as JSON')
    .addHelpText(
      'after',
      `
Examples:
  tidegate run smollm2 "Why is the sky blue?"
  git diff | tidegate run smollm2 "Write a commit message for this."
  tidegate run --verbose --temperature 0 ./mine.gguf "Say hello."
  tidegate run --url http://gpu-box:8787/v1 qwen3-8b "Translate to German: good morning"`,
    )
    .action(async (model: string, words: string[], flags: RunFlags) => {
      const piped = cli.stdin.isTTY ? '' : await readAll(cli);
      const prompt = [words.join(' '), piped.trim()].filter(Boolean).join('\n\n');
      if (!prompt && cli.stdin.isTTY) {
        const { chatWith } = await import('./chat.ts');
        await chatWith(cli, model, flags);
        return;
      }
      if (!prompt) throw new CliError('There is nothing to answer: give a prompt, or pipe one in.', 2);
      await answerOnce(cli, model, prompt, flags);
    });

async function answerOnce(cli: Cli, wanted: string, prompt: string, flags: RunFlags): Promise<void> {
  const connection = await connect(cli, wanted, flags);
  try {
    const messages: Turn[] = [
      ...(flags.system ? [{ role: 'system' as const, content: flags.system }] : []),
      { role: 'user', content: prompt },
    ];
    let last = '';
    const answer = await streamAnswer(connection, messages, flags, {
      signal: cli.signal,
      show: (text) => {
        last = text;
        if (!flags.jsonOutput) cli.stdout.write(text);
      },
      think: (text) => flags.jsonOutput || cli.stderr.write(cli.paint.dim(text)),
    });
    if (flags.jsonOutput) cli.print(JSON.stringify({ model: connection.model, ...answer }, null, 2));
    else if (!last.endsWith('\n')) cli.stdout.write('\n');
    if (flags.verbose) cli.note(formatStats(cli, answer));
    cli.signal.throwIfAborted();
  } finally {
    await connection.close();
  }
}

async function readAll({ stdin, signal }: Cli): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of addAbortSignal(signal, stdin)) pieces.push(Buffer.from(piece as Uint8Array)); // no encoding is set
  return Buffer.concat(pieces).toString('utf8');
}
