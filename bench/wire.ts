/**
 * What the OpenAI wire format costs: a text chunk written by the fast form against JSON.stringify of the whole chunk, an
 * upstream's stream read by our byte-level decoder against eventsource-parser, a request decoded, and the cutter of the
 * pass-through.
 *
 *     node bench/run.mjs wire
 */
import { cpus, loadavg } from 'node:os';
import { createParser } from 'eventsource-parser';
import { createChatEncoder } from '../src/wire/openai/encode.ts';
import { openaiChat } from '../src/wire/openai/format.ts';
import { createChatChunkDecoder } from '../src/wire/openai/upstream-answer.ts';
import { createSseCutter, createSseDecoder } from '../src/wire/sse.ts';

const texts = Array.from(
  { length: 1000 },
  (_, index) => [' the', ' lighthouse', '\n', ' "quoted"', ' é', '.'][index % 6] ?? '',
);
const answer = { id: 'chatcmpl-bench', created: 1_700_000_000, model: 'smollm2', includeUsage: true };
const chunkOf = (content: string) => ({
  id: answer.id,
  object: 'chat.completion.chunk',
  created: answer.created,
  model: answer.model,
  choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }],
  usage: null,
});
const stream = new TextEncoder().encode(texts.map((text) => `data: ${JSON.stringify(chunkOf(text))}\n\n`).join(''));
const events: Uint8Array[] = []; // one event a piece, as upstreams send them
for (let start = 0; start < stream.length; ) {
  const end = stream.indexOf(10, start) + 2;
  events.push(stream.subarray(start, end));
  start = end;
}
const request = {
  model: 'smollm2',
  stream: true,
  temperature: 0.7,
  messages: Array.from({ length: 20 }, (_, index) => ({
    role: index % 2 ? 'assistant' : 'user',
    content: 'word '.repeat(50),
  })),
};

const cases: readonly { readonly name: string; readonly per: number; readonly run: () => unknown }[] = [
  {
    name: 'write a text chunk, fast form',
    per: texts.length,
    run() {
      const encoder = createChatEncoder(answer);
      let length = 0;
      for (const text of texts) length += encoder.push({ type: 'text-delta', choice: 0, text }).length;
      return length;
    },
  },
  {
    name: 'write a text chunk, JSON.stringify of the whole',
    per: texts.length,
    run: () => texts.reduce((length, text) => length + `data: ${JSON.stringify(chunkOf(text))}\n\n`.length, 0),
  },
  {
    name: 'read an event, our decoder',
    per: events.length,
    run() {
      const decoder = createSseDecoder();
      let count = 0;
      for (const piece of events) count += decoder.push(piece).length;
      return count;
    },
  },
  {
    name: 'read an event, TextDecoder and eventsource-parser',
    per: events.length,
    run() {
      let count = 0;
      const parser = createParser({ onEvent: () => count++ });
      const utf8 = new TextDecoder();
      for (const piece of events) parser.feed(utf8.decode(piece, { stream: true }));
      return count;
    },
  },
  {
    name: 'read an event and its chunk',
    per: events.length,
    run() {
      const decoder = createSseDecoder();
      const chunks = createChatChunkDecoder();
      let count = 0;
      for (const piece of events)
        for (const { data } of decoder.push(piece)) count += chunks.push(JSON.parse(data)).length;
      return count;
    },
  },
  {
    name: 'cut an event for the pass-through',
    per: events.length,
    run() {
      const cutter = createSseCutter();
      let length = 0;
      for (const piece of events) length += cutter.push(piece)?.length ?? 0;
      return length;
    },
  },
  { name: 'decode a request of 20 turns', per: 1, run: () => openaiChat.decode(request, { headers: {} }) },
];

const rounds = 7;
const [load] = loadavg();
console.log(
  `${cpus().length} cores (${cpus()[0]?.model ?? '?'}), load ${load?.toFixed(1)}, node ${process.version}; median of ${rounds}`,
);
for (const { name, per, run } of cases) {
  const times: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const started = performance.now();
    let runs = 0;
    while (performance.now() - started < 150) {
      run();
      runs++;
    }
    if (round >= 0) times.push(((performance.now() - started) * 1000) / runs / per);
  }
  times.sort((a, b) => a - b);
  console.log(`${(times[rounds >> 1] ?? 0).toFixed(3).padStart(9)} us  ${name}`);
}
