import { readFile, writeFile } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline/promises';
import { Command } from 'commander';
import { reasonOf } from '../node/system-error.ts';
import { type Answer, type AnswerOptions, formatStats, streamAnswer, type Turn, withAnswerFlags } from './answer.ts';
import type { Cli, CommandFactory } from './cli.ts';
import { type ConnectFlags, type Connection, connect, withConnectFlags } from './connect.ts';

export interface ChatFlags extends ConnectFlags, AnswerOptions {
  readonly system?: string;
  readonly verbose?: boolean;
}

export const chat: CommandFactory = (cli) =>
  withConnectFlags(
    withAnswerFlags(
      new Command('chat')
        .summary('chat in the terminal')
        .description('Chat with a model: one of the running gateway, or a local one.')
        .argument('[model]', 'the first model of the server if absent'),
    ),
  )
    .option('-v, --verbose', 'say tokens, time to the first one and speed after each answer')
    .addHelpText(
      'after',
      `\nExamples:\n  tidegate chat\n  tidegate chat qwen3-0.6b --system "You are terse."\n\n${commandHelp()}`,
    )
    .action((model: string | undefined, flags: ChatFlags) => chatWith(cli, model, flags));

/** What the conversation is made of; each command and turn returns the next one. */
interface Conversation {
  readonly connection: Connection;
  readonly turns: readonly Turn[];
  readonly system: string | undefined;
  readonly options: AnswerOptions;
  readonly verbose: boolean;
  readonly last: Answer | undefined;
}

/** A conversation in the terminal, until its user leaves. */
export async function chatWith(cli: Cli, model: string | undefined, flags: ChatFlags): Promise<void> {
  const connection = await connect(cli, model, flags);
  const input = createInterface({
    input: cli.stdin,
    output: cli.stdout,
    terminal: cli.stdin.isTTY === true,
    completer,
  });
  const typed = lines(input, cli);
  let state: Conversation | 'end' = {
    ...{ connection, turns: [], system: flags.system, verbose: flags.verbose === true, last: undefined },
    options: flags,
  };
  cli.note(cli.paint.dim(`${connection.model} at ${connection.baseUrl}. /help says what is possible.`));
  try {
    while (state !== 'end') {
      const text = await readMessage(typed);
      if (text === undefined) break;
      if (text.trim() === '') continue;
      const now: Conversation = state;
      state = text.startsWith('/')
        ? await command(cli, now, text, input).catch((error: unknown) => complain(cli, error, now))
        : await turn(cli, { ...now, turns: [...now.turns, { role: 'user', content: text }] }, input).catch(
            (error: unknown) => complain(cli, error, now),
          );
    }
  } finally {
    input.close();
    await connection.close();
  }
}

function complain(cli: Cli, error: unknown, state: Conversation): Conversation {
  cli.note(`${cli.paint.red('error:')} ${reasonOf(error)}`);
  return state;
}

/** One answer to the turns so far. Ctrl-C stops it; what came stays in the conversation. */
async function turn(cli: Cli, state: Conversation, input: Interface): Promise<Conversation> {
  const stop = new AbortController();
  const onStop = () => stop.abort();
  input.on('SIGINT', onStop);
  try {
    const { connection, system, turns, options } = state;
    const messages: Turn[] = system ? [{ role: 'system', content: system }, ...turns] : [...turns];
    let thought = false;
    const last = await streamAnswer(connection, messages, options, {
      signal: AbortSignal.any([cli.signal, stop.signal]),
      think: (text) => {
        thought = true;
        cli.stdout.write(cli.paint.dim(text));
      },
      show: (text) => {
        if (thought) cli.stdout.write('\n\n');
        thought = false;
        cli.stdout.write(text);
      },
    });
    cli.stdout.write(last.finishReason === 'stopped' ? cli.paint.dim(' (stopped)\n\n') : '\n\n');
    if (state.verbose) cli.note(`${formatStats(cli, last)}\n`);
    return { ...state, turns: [...turns, { role: 'assistant', content: last.text }], last };
  } finally {
    input.off('SIGINT', onStop);
  }
}

type ChatCommand = (
  cli: Cli,
  state: Conversation,
  argument: string,
  input: Interface,
) => Promise<Conversation | 'end'> | Conversation | 'end';

const commands: Readonly<Record<string, { help: string; run: ChatCommand }>> = {
  help: {
    help: 'this list',
    run: (cli, state) => {
      cli.print(commandHelp());
      return state;
    },
  },
  model: {
    help: 'NAME: go on with another model; without NAME, list them',
    run: (cli, state, name) => {
      const { models, model } = state.connection;
      if (!name) cli.print(models.map((one) => (one === model ? `* ${one}` : `  ${one}`)).join('\n'));
      else if (!models.includes(name)) throw new Error(`No model "${name}". There are ${models.join(', ')}.`);
      else return { ...state, connection: { ...state.connection, model: name } };
      return state;
    },
  },
  system: {
    help: 'TEXT: set the system prompt; without TEXT, remove it',
    run: (_, state, text) => ({ ...state, system: text || undefined }),
  },
  set: {
    help: 'temperature | top_p | max_tokens | seed VALUE; without VALUE, the default again',
    run: (_, state, argument) => ({ ...state, options: setOption(state.options, argument) }),
  },
  clear: { help: 'begin anew', run: (_, state) => ({ ...state, turns: [], last: undefined }) },
  retry: {
    help: 'answer the last message again',
    run: (cli, state, _, input) => {
      const asked = state.turns.findLastIndex(({ role }) => role === 'user');
      if (asked < 0) throw new Error('There is nothing to answer yet.');
      return turn(cli, { ...state, turns: state.turns.slice(0, asked + 1) }, input);
    },
  },
  undo: {
    help: 'take back the last message and its answer',
    run: (_, state) => {
      const asked = state.turns.findLastIndex(({ role }) => role === 'user');
      return { ...state, turns: asked < 0 ? [] : state.turns.slice(0, asked) };
    },
  },
  save: {
    help: 'FILE: write the conversation as JSON',
    run: async (cli, state, file) => {
      if (!file) throw new Error('/save FILE');
      const { system, turns, connection } = state;
      await writeFile(file, `${JSON.stringify({ model: connection.model, system, messages: turns }, null, 2)}\n`, {
        mode: 0o600,
      });
      cli.print(`Saved ${turns.length} messages to ${file}.`);
      return state;
    },
  },
  load: {
    help: 'FILE: go on with a saved conversation',
    run: async (cli, state, file) => {
      if (!file) throw new Error('/load FILE');
      const saved = JSON.parse(await readFile(file, 'utf8')) as { system?: string; messages?: Turn[] }; // checked below
      if (!Array.isArray(saved.messages)) throw new Error(`${file} holds no messages.`);
      cli.print(`Loaded ${saved.messages.length} messages.`);
      return { ...state, system: saved.system, turns: saved.messages };
    },
  },
  stats: {
    help: 'tokens, time to the first one and speed of the last answer',
    run: (cli, state) => {
      cli.print(state.last ? formatStats(cli, state.last) : 'No answer yet.');
      return state;
    },
  },
  exit: { help: 'end (also Ctrl-D)', run: () => 'end' },
};

async function command(cli: Cli, state: Conversation, text: string, input: Interface): Promise<Conversation | 'end'> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*(.*)$/s.exec(text) ?? [];
  const known = commands[name === 'quit' || name === 'bye' ? 'exit' : name];
  if (known) return await known.run(cli, state, argument.trim(), input);
  const { nearestNames } = await import('../core/nearest.ts');
  const [near] = nearestNames(name, Object.keys(commands));
  throw new Error(`There is no /${name}.${near ? ` Did you mean /${near}?` : ''} /help lists all.`);
}

function setOption(options: AnswerOptions, argument: string): AnswerOptions {
  const [name = '', text = ''] = argument.split(/\s+/);
  const fields = { temperature: 'temperature', top_p: 'topP', max_tokens: 'maxTokens', seed: 'seed' } as const;
  const field = fields[name as keyof typeof fields]; // undefined for other words
  if (!field) throw new Error(`/set ${Object.keys(fields).join(' | ')} VALUE`);
  const { [field]: _, ...rest } = options;
  if (text === '') return rest;
  if (!Number.isFinite(Number(text))) throw new Error(`${name} is a number.`);
  return { ...rest, [field]: Number(text) };
}

/** One message: a line, lines ending in a backslash, or everything between two lines of """. */
async function readMessage(typed: Lines): Promise<string | undefined> {
  let text = await typed('> ');
  if (text === undefined) return undefined;
  if (text.trimStart().startsWith('"""')) {
    const parts = [text.trimStart().slice(3)];
    while (!parts.at(-1)?.includes('"""')) {
      const more = await typed('. ');
      if (more === undefined) break;
      parts.push(more);
    }
    const whole = parts.join('\n');
    const end = whole.indexOf('"""');
    return (end < 0 ? whole : whole.slice(0, end)).trim();
  }
  while (text.endsWith('\\')) {
    const more = await typed('. ');
    text = `${text.slice(0, -1)}\n${more ?? ''}`;
    if (more === undefined) break;
  }
  return text;
}

type Lines = (prompt: string) => Promise<string | undefined>;

/** Asks for lines one by one; undefined at the end of the input, at Ctrl-D, or at Ctrl-C on the prompt. */
function lines(input: Interface, cli: Cli): Lines {
  const waiting: string[] = [];
  let wake: (() => void) | undefined;
  let ended = false;
  const end = () => {
    ended = true;
    wake?.();
  };
  input.on('line', (line) => {
    waiting.push(line);
    wake?.();
  });
  input.on('close', end);
  cli.signal.addEventListener('abort', end);
  return async (prompt) => {
    if (waiting.length === 0 && !ended) {
      if (cli.stdin.isTTY) {
        input.setPrompt(cli.paint.cyan(prompt));
        input.prompt();
      }
      input.once('SIGINT', end);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      input.off('SIGINT', end);
    }
    return waiting.shift();
  };
}

function completer(line: string): [string[], string] {
  const names = Object.keys(commands).map((name) => `/${name}`);
  return [line.startsWith('/') ? names.filter((name) => name.startsWith(line)) : [], line];
}

function commandHelp(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const list = Object.entries(commands).map(([name, { help }]) => `  /${name.padEnd(width)}  ${help}`);
  return `In the chat:\n${list.join('\n')}\n  A line that ends in \\ goes on; """ begins and ends a message of many lines. Ctrl-C stops an answer.`;
}
