import { audit } from './audit.ts';
import { bench } from './bench.ts';
import { chat } from './chat.ts';
import { check } from './check.ts';
import type { CommandFactory } from './cli.ts';
import { completion } from './completion.ts';
import { config } from './config.ts';
import { evaluate } from './eval.ts';
import { explain } from './explain.ts';
import { init } from './init.ts';
import { keys } from './keys.ts';
import { models } from './models.ts';
import { prompt } from './prompt.ts';
import { pull } from './pull.ts';
import { run } from './run.ts';
import { serve } from './serve.ts';
import { top } from './top.ts';
import { usage } from './usage.ts';

/** Every subcommand, in the groups and the order of the help. A new one is a file in this folder and a line here. */
export const commandGroups: readonly { readonly title: string; readonly commands: readonly CommandFactory[] }[] = [
  { title: 'Serving:', commands: [serve, chat, run] },
  { title: 'Models:', commands: [pull, models] },
  { title: 'Measuring:', commands: [bench, evaluate] },
  { title: 'Looking after it:', commands: [init, config, check, explain, top, prompt, completion] },
  { title: 'Keys and books:', commands: [keys, usage, audit] },
];
