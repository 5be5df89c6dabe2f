/**
 * What do streaming filters cost, and what do they hold back? Characters per second and added latency for 0, 10, 1,000
 * and 10,000 phrases and for the presets, beside a buffer of the whole answer and a fixed 1,024-byte window; and what
 * text costs that is made to be hard.
 * Run: node bench/run.mjs filters [--rounds 15] [--save]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import type { CompletionEvent } from '../src/core/event.ts';
import { rulesOf } from '../src/filters/compile.ts';
import { filterSchema } from '../src/filters/config.ts';
import { filterEvents } from '../src/filters/output.ts';
import { compileRules, type RuleSet } from '../src/filters/rules.ts';
import { createScanner } from '../src/filters/scanner.ts';
import { hardTexts } from '../test/filters/adversarial.ts';
import { median, quantile } from './shared/quantiles.ts';

const option = (name: string, fallback: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
};
const rounds = Number(option('rounds', '15'));
/** A usual decoding speed, to turn held tokens into time. */
const tokensPerSecond = 50;

let seed = 7;
const random = () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T; // never empty here
const syllables =
  'a an ar be ca co de di en er fa go ha in is ka la le ma me mi na ne no on or pa ra re ri sa se so ta te ti to un ve wi'.split(
    ' ',
  );
const vocabulary = Array.from({ length: 4_000 }, () =>
  Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(syllables)).join(''),
);
/** Frequent words are more frequent, as in any language. */
const word = () => vocabulary[Math.floor(random() ** 3 * vocabulary.length)] ?? '';
const sentence = (words: number) => `${Array.from({ length: words }, word).join(' ')}. `;

const text = Array.from({ length: 30_000 }, () => sentence(6 + Math.floor(random() * 12)))
  .join('')
  .slice(0, 1_000_000);
const tokensOf = (from: string) => from.match(/.{1,5}/gs) ?? [];
const tokens = tokensOf(text);
const phrases = Array.from(
  { length: 10_000 },
  () => `${pick(vocabulary)} ${pick(vocabulary)}${pick(syllables)}x ${pick(vocabulary)}`,
);

const sets: readonly { readonly name: string; readonly rules: RuleSet }[] = [
  ...[0, 10, 1_000, 10_000].map((count) => ({
    name: `${count} phrases`,
    rules: compileRules(rulesOf('p', filterSchema().parse({ kind: 'patterns', phrases: phrases.slice(0, count) }))),
  })),
  { name: 'secrets', rules: compileRules(rulesOf('s', filterSchema().parse({ kind: 'patterns', preset: 'secrets' }))) },
  { name: 'pii', rules: compileRules(rulesOf('i', filterSchema().parse({ kind: 'pii' }))) },
  {
    name: '10000 + secrets + pii',
    rules: compileRules([
      ...rulesOf('p', filterSchema().parse({ kind: 'patterns', phrases })),
      ...rulesOf('s', filterSchema().parse({ kind: 'patterns', preset: ['secrets', 'profanity'] })),
      ...rulesOf('i', filterSchema().parse({ kind: 'pii' })),
    ]),
  },
];

interface Row {
  readonly name: string;
  readonly charactersPerSecond: number;
  readonly heldP50: number;
  readonly heldP99: number;
  readonly heldMax: number;
  readonly addedTtftMs: number;
  readonly addedItlMicrosP50: number;
  readonly addedItlMicrosP99: number;
}

function speed(rules: RuleSet): number {
  const scanner = createScanner(rules);
  const started = process.cpuUsage(); // processor time: other work on the machine does not count
  let out = 0;
  for (const token of tokens) out += scanner.push(token).length;
  out += scanner.end().length;
  if (out < text.length / 2) throw new Error('the filter lost text');
  const { user, system } = process.cpuUsage(started);
  return (text.length / (user + system)) * 1e6;
}

/** Characters that wait after each token of clean text, and how long a token stays inside. */
async function latency(
  rules: RuleSet,
): Promise<Pick<Row, 'heldP50' | 'heldP99' | 'heldMax' | 'addedTtftMs' | 'addedItlMicrosP50' | 'addedItlMicrosP99'>> {
  const held: number[] = [];
  const micros: number[] = [];
  const firstHeld: number[] = [];
  for (let answer = 0; answer < 200; answer++) {
    const mine = tokens.slice(answer * 100, answer * 100 + 100);
    let read = 0;
    let sent = 0;
    let pulledAt = 0;
    let firstAt = -1;
    async function* source(): AsyncGenerator<CompletionEvent> {
      for (const [index, token] of mine.entries()) {
        if (index > 0) held.push(read - sent);
        if (firstAt < 0 && sent > 0) firstAt = index;
        read += token.length;
        pulledAt = performance.now();
        yield { type: 'text-delta', choice: 0, text: token };
      }
      yield { type: 'finish', choice: 0, reason: 'stop' };
    }
    for await (const event of filterEvents(source(), rules, { choices: 1, jsonText: false, dialect: 'openai-chat' })) {
      if (event.type === 'text-delta') {
        sent += event.text.length;
        micros.push((performance.now() - pulledAt) * 1000);
      }
    }
    firstHeld.push(Math.max(0, (firstAt < 0 ? mine.length : firstAt) - 1));
  }
  return {
    heldP50: median(held),
    heldP99: quantile(held, 0.99),
    heldMax: Math.max(...held),
    addedTtftMs: (firstHeld.reduce((a, b) => a + b, 0) / firstHeld.length / tokensPerSecond) * 1000,
    addedItlMicrosP50: median(micros),
    addedItlMicrosP99: quantile(micros, 0.99),
  };
}

/** How often a phrase gets out, whole or in part, in answers that each hold one at a random place. */
function leaks(): { readonly automaton: number; readonly window: number; readonly answers: number } {
  const chosen = phrases.slice(0, 1_000);
  const rules = compileRules(rulesOf('p', filterSchema().parse({ kind: 'patterns', phrases: chosen })));
  const answers = 2_000;
  let [automaton, window] = [0, 0];
  for (let i = 0; i < answers; i++) {
    const phrase = pick(chosen);
    const clean = Array.from({ length: 40 }, () => sentence(10)).join('');
    const at = Math.floor(random() * clean.length);
    const answer = `${clean.slice(0, at)} ${phrase} ${clean.slice(at)}`;
    const scanner = createScanner(rules);
    const streamed =
      tokensOf(answer)
        .map((token) => scanner.push(token))
        .join('') + scanner.end();
    if (streamed.includes(phrase)) automaton++;
    let windowed = '';
    for (let from = 0; from < answer.length; from += 1_024)
      windowed += answer.slice(from, from + 1_024).replaceAll(phrase, '[phrase]');
    if (windowed.includes(phrase)) window++;
  }
  return { automaton, window, answers };
}

interface HardRow {
  readonly text: string;
  readonly rules: string;
  /** The first megabyte builds states; they are there for the second, in whatever text. */
  readonly firstMs: number;
  readonly thenMs: number;
}

/** Milliseconds of processor time per million characters, read as a stream of pieces of 1,000. */
function hard(): readonly HardRow[] {
  const length = 1_000_000;
  const chosen = sets.filter(({ name }) => name === 'pii' || name === 'secrets');
  const read = (rules: RuleSet, from: string): number => {
    const scanner = createScanner(rules);
    const started = process.cpuUsage();
    for (let at = 0; at < from.length; at += 1_000) scanner.push(from.slice(at, at + 1_000));
    scanner.end();
    const { user, system } = process.cpuUsage(started);
    return (user + system) / 1_000 / (from.length / 1_000_000);
  };
  const texts = Object.entries({ prose: text, ...hardTexts(length) });
  return texts.flatMap(([name, from]) =>
    chosen.map(({ name: set, rules }) => ({
      ...{ text: name, rules: set, firstMs: read(rules, from), thenMs: read(rules, from) },
    })),
  );
}

async function main(): Promise<void> {
  const speeds = new Map(sets.map(({ name }) => [name, [] as number[]]));
  for (const { rules } of sets) speed(rules); // builds states
  for (let round = 0; round < rounds; round++) for (const { name, rules } of sets) speeds.get(name)?.push(speed(rules));
  const rows: Row[] = [];
  for (const { name, rules } of sets) {
    await latency(rules);
    rows.push({ name, charactersPerSecond: median(speeds.get(name) ?? []), ...(await latency(rules)) });
  }
  const leaked = leaks();
  const hardRows = process.argv.includes('--no-hard') ? [] : hard();
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'cpu'}, load ${loadavg()[0]?.toFixed(1)}, Node ${process.version}`;
  const [ten, tenThousand] = [rows[1], rows[3]].map((row) => row?.charactersPerSecond ?? 1);
  const ratio = (ten ?? 1) / (tenThousand ?? 1);

  console.log(
    `streaming filters over ${text.length} characters in tokens of 5, ${rounds} rounds interleaved, medians of processor time; ${machine}\n`,
  );
  console.log('rules                     Mchar/s  held p50/p99/max  added TTFT at 50 tok/s  per token p50/p99');
  for (const row of rows) {
    console.log(
      `${row.name.padEnd(24)} ${(row.charactersPerSecond / 1e6).toFixed(2).padStart(8)}  ${`${row.heldP50}/${row.heldP99}/${row.heldMax}`.padStart(16)}  ${`${row.addedTtftMs.toFixed(1)} ms`.padStart(22)}  ${`${row.addedItlMicrosP50.toFixed(1)}/${row.addedItlMicrosP99.toFixed(1)} µs`.padStart(17)}`,
    );
  }
  const buffered = (tokens: number) => `${((tokens / tokensPerSecond) * 1000).toFixed(0)} ms`;
  console.log(`\nwhole-answer buffer      an answer of 500 tokens begins ${buffered(500)} later`);
  console.log(
    `1,024-byte window        an answer begins ${buffered(1_024 / 5)} later, then comes in bursts of 1,024 bytes`,
  );
  console.log(
    `leaks of one phrase per answer: automaton ${leaked.automaton}/${leaked.answers}, 1,024-byte window ${leaked.window}/${leaked.answers}`,
  );
  console.log(`10,000 phrases cost ${ratio.toFixed(2)}x the time of 10 (the goal is at most 2x)`);
  console.log('\nhard text, ms per MB           pii first/then   secrets first/then');
  for (const name of new Set(hardRows.map((row) => row.text))) {
    const cell = (rules: string) => {
      const row = hardRows.find((each) => each.text === name && each.rules === rules);
      return `${row?.firstMs.toFixed(0)}/${row?.thenMs.toFixed(0)}`.padStart(18);
    };
    console.log(`${name.padEnd(24)} ${cell('pii')} ${cell('secrets')}`);
  }
  if (process.argv.includes('--save')) {
    const folder = join(import.meta.dirname, 'results');
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, 'filters.json'),
      `${JSON.stringify({ machine, at: new Date().toISOString(), tokensPerSecond, rows, leaked, ratio, hardRows }, null, 2)}\n`,
    );
  }
  if (leaked.automaton > 0) process.exitCode = 1;
}

await main();
