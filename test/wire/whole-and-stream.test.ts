import { expect, test } from 'vitest';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { createCollector } from '../../src/core/streams.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import type { WireFormat } from '../../src/wire/format.ts';
import { ollamaChat } from '../../src/wire/ollama/format.ts';
import { openaiCompletions } from '../../src/wire/openai/completions.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are read as any client reads them
type Any = any;

const choice = 0;
const token = (text: string) => ({
  token: text,
  logprob: -0.5,
  bytes: null,
  top: [{ token: text, logprob: -0.5, bytes: null }],
});
const cases: { name: string; why?: string; events: CompletionEvent[] }[] = [
  {
    name: 'thoughts, text, calls side by side',
    events: [
      { type: 'start', id: 'u', model: 'um', fingerprint: 'fp', prompt: { promptTokens: 7, cachedTokens: 3 } },
      { type: 'reasoning-delta', choice, text: 'Let' },
      { type: 'reasoning-delta', choice, text: ' me.' },
      { type: 'reasoning-end', choice, signature: 'sig', id: 'r1' },
      { type: 'text-delta', choice, text: 'I ' },
      { type: 'text-delta', choice, text: 'look.' },
      { type: 'tool-call-start', choice, index: 0, id: 'a', name: 'one', kind: 'function' },
      { type: 'tool-call-start', choice, index: 1, id: 'b', name: 'two', kind: 'function' },
      { type: 'tool-call-delta', choice, index: 1, arguments: '{"x":' },
      { type: 'tool-call-delta', choice, index: 0, arguments: '{"y":1}' },
      { type: 'tool-call-delta', choice, index: 1, arguments: '2}' },
      { type: 'finish', choice, reason: 'tool-calls' },
      {
        type: 'usage',
        usage: { promptTokens: 7, cachedTokens: 3, cacheWriteTokens: 1, completionTokens: 9, reasoningTokens: 2 },
      },
    ],
  },
  {
    name: 'a call without arguments, and text after it',
    events: [
      { type: 'start' },
      { type: 'tool-call-start', choice, index: 0, id: 'a', name: 'one', kind: 'function' },
      { type: 'text-delta', choice, text: 'Then.' },
      { type: 'finish', choice, reason: 'tool-calls' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 9 } },
    ],
  },
  {
    name: 'citations and log-probabilities',
    events: [
      { type: 'start' },
      { type: 'text-delta', choice, text: 'Ti', logprobs: [token('Ti')] },
      {
        type: 'annotation',
        choice,
        annotation: {
          type: 'url_citation',
          url_citation: { url: 'https://a.example', title: 'A', start_index: 0, end_index: 2 },
        },
      },
      { type: 'text-delta', choice, text: 'de', logprobs: [token('de')] },
      { type: 'finish', choice, reason: 'stop', stopSequence: 'END' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 9 } },
    ],
  },
  {
    name: 'a refusal in words',
    events: [
      { type: 'start' },
      { type: 'refusal-delta', choice, text: 'No' },
      { type: 'refusal-delta', choice, text: '.' },
      { type: 'finish', choice, reason: 'refusal' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 9 } },
    ],
  },
  {
    name: 'an answer that was stopped, with why',
    why: 'Blocked: SAFETY.',
    events: [
      { type: 'start' },
      { type: 'text-delta', choice, text: 'So' },
      { type: 'finish', choice, reason: 'content-filter', detail: 'Blocked: SAFETY.' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 9 } },
    ],
  },
  {
    name: 'an answer that was refused before a word, with why',
    why: 'bio',
    events: [
      { type: 'start' },
      { type: 'finish', choice, reason: 'refusal', detail: 'bio' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 0 } },
    ],
  },
  {
    name: 'hidden thoughts, and the end of the tokens',
    events: [
      { type: 'start' },
      { type: 'reasoning-end', choice, redacted: 'xyz' },
      { type: 'reasoning-delta', choice, text: 'Hm' },
      { type: 'reasoning-end', choice },
      { type: 'text-delta', choice, text: 'So' },
      { type: 'reasoning-delta', choice, text: 'More' },
      { type: 'text-delta', choice, text: ' it is' },
      { type: 'finish', choice, reason: 'length' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 9 } },
    ],
  },
  {
    name: 'no word at all',
    events: [
      { type: 'start' },
      { type: 'finish', choice, reason: 'stop' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 0 } },
    ],
  },
  {
    name: 'a turn to be gone on with',
    events: [
      { type: 'start' },
      { type: 'text-delta', choice, text: 'So' },
      { type: 'finish', choice, reason: 'pause' },
      { type: 'usage', usage: { promptTokens: 7, completionTokens: 9 } },
    ],
  },
];

const sseOf = (text: string): Any[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)));

function readChat(text: string): Any {
  const out: Any = { content: '', reasoning: '', refusal: '', calls: [], annotations: [], logprobs: [] };
  for (const chunk of sseOf(text)) {
    if (chunk.usage) out.usage = chunk.usage;
    out.fingerprint = chunk.system_fingerprint;
    for (const { delta, finish_reason, finish_message, logprobs } of chunk.choices) {
      out.content += delta.content ?? '';
      out.reasoning += delta.reasoning_content ?? '';
      out.refusal += delta.refusal ?? '';
      out.annotations.push(...(delta.annotations ?? []));
      out.logprobs.push(...(logprobs?.content ?? []));
      for (const { index, id, function: f } of delta.tool_calls ?? []) {
        out.calls[index] ??= { id, name: f.name, arguments: '' };
        out.calls[index].arguments += f.arguments ?? '';
      }
      if (finish_reason) Object.assign(out, { finish: finish_reason, message: finish_message });
    }
  }
  return out;
}
const chatOf = ({
  choices: [{ message, finish_reason, finish_message, logprobs }],
  usage,
  system_fingerprint,
}: Any) => ({
  content: message.content ?? '',
  reasoning: message.reasoning_content ?? '',
  refusal: message.refusal ?? '',
  calls: (message.tool_calls ?? []).map(({ id, function: f }: Any) => ({ id, name: f.name, arguments: f.arguments })),
  annotations: message.annotations,
  logprobs: logprobs?.content ?? [],
  finish: finish_reason,
  message: finish_message,
  usage,
  fingerprint: system_fingerprint,
});

/** As Anthropic's SDKs gather a message. */
function readMessage(text: string): Any {
  let message: Any;
  const json: string[] = [];
  for (const event of sseOf(text)) {
    if (event.type === 'message_start') message = event.message;
    if (event.type === 'content_block_start') message.content.push(event.content_block);
    if (event.type === 'message_delta') {
      Object.assign(message, event.delta);
      message.usage = { ...message.usage, ...event.usage };
    }
    const block = message.content[event.index];
    if (event.type === 'content_block_delta') {
      const { delta } = event;
      if (delta.type === 'text_delta') block.text += delta.text;
      if (delta.type === 'thinking_delta') block.thinking += delta.thinking;
      if (delta.type === 'signature_delta') block.signature = delta.signature;
      if (delta.type === 'citations_delta') block.citations = [...(block.citations ?? []), delta.citation];
      if (delta.type === 'input_json_delta') json[event.index] = (json[event.index] ?? '') + delta.partial_json;
    }
    if (event.type === 'content_block_stop' && json[event.index]) block.input = JSON.parse(json[event.index] ?? '');
  }
  return message;
}
/** Blocks of one kind behind each other: a stream tells them in the order in which they came. */
const messageOf = ({ content, ...rest }: Any) => ({
  ...rest,
  text: content.map((block: Any) => block.text ?? '').join(''),
  citations: content.flatMap((block: Any) => block.citations ?? []),
  others: content.filter((block: Any) => block.type !== 'text').toSorted((a: Any, b: Any) => rank(a) - rank(b)),
});
const rank = ({ type }: Any) => (type === 'tool_use' ? 1 : 0);

const responseOf = ({ output, ...rest }: Any) => ({
  ...rest,
  messages: output
    .flatMap(({ content, type }: Any) => (type === 'message' ? content : []))
    .reduce(
      (sum: Any, { type, text, refusal, ...more }: Any) => ({ ...more, [type]: (sum[type] ?? '') + (text ?? refusal) }),
      {},
    ),
  thoughts: output.map(({ content, type }: Any) => (type === 'reasoning' ? (content[0]?.text ?? '') : '')).join(''),
  encrypted: output.map((item: Any) => item.encrypted_content).filter(Boolean),
  calls: output.filter(({ type }: Any) => type === 'function_call').map(({ id: _, ...call }: Any) => call),
});

function readOllama(text: string): Any {
  const out: Any = { content: '', thinking: '', calls: [], logprobs: [] };
  for (const { message, logprobs, done, done_reason, prompt_eval_count, eval_count } of text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))) {
    out.content += message.content;
    out.thinking += message.thinking ?? '';
    out.calls.push(...(message.tool_calls ?? []));
    out.logprobs.push(...(logprobs ?? []));
    if (done) Object.assign(out, { done_reason, prompt_eval_count, eval_count });
  }
  return out;
}

function readCompletion(text: string): Any {
  const out: Any = { text: '', tokens: [] };
  for (const chunk of sseOf(text)) {
    if (chunk.usage) out.usage = chunk.usage;
    for (const { text: piece, logprobs, finish_reason } of chunk.choices) {
      out.text += piece;
      out.tokens.push(...(logprobs?.text_offset ?? []));
      out.finish = finish_reason ?? out.finish;
    }
  }
  return out;
}

const messages = [{ role: 'user', content: 'hi' }];
const formats: {
  name: string;
  format: WireFormat;
  body: JsonObject;
  streamed: (text: string) => Any;
  whole: (body: Any) => Any;
  /** What it tells of why an answer was stopped; Anthropic's and OpenAI's own APIs have a field for that, or room for one. */
  stopped?: (why: string) => object;
}[] = [
  {
    name: 'chat',
    format: openaiChat,
    body: { messages, stream_options: { include_usage: true } },
    streamed: readChat,
    whole: chatOf,
    stopped: (message) => ({ finish: 'content_filter', message }),
  },
  {
    name: 'messages',
    format: anthropicMessages,
    body: { messages, max_tokens: 9 },
    streamed: (text) => messageOf(readMessage(text)),
    whole: messageOf,
    stopped: (why) => ({
      stop_reason: 'refusal',
      stop_details: { type: 'refusal', category: why === 'bio' ? why : null, explanation: why === 'bio' ? null : why },
    }),
  },
  {
    name: 'responses',
    format: openaiResponses,
    body: { input: 'hi' },
    streamed: (text) => responseOf(sseOf(text).at(-1).response),
    whole: responseOf,
    stopped: (message) => ({ status: 'incomplete', incomplete_details: { reason: 'content_filter', message } }),
  },
  {
    name: 'ollama',
    format: ollamaChat,
    body: { messages },
    streamed: readOllama,
    whole: (body) => readOllama(JSON.stringify(body)),
  },
  {
    name: 'completions',
    format: openaiCompletions,
    body: { prompt: 'hi', logprobs: 1, stream_options: { include_usage: true } },
    streamed: readCompletion,
    whole: ({ choices: [{ text, logprobs, finish_reason }], usage }) => ({
      text,
      tokens: logprobs?.text_offset ?? [],
      finish: finish_reason,
      usage,
    }),
  },
];

test.each(
  formats.flatMap((format) => cases.map((one) => ({ ...format, ...one, format: format.format, as: format.name }))),
)('$as says the same whole and as a stream: $name', ({ format, body, streamed, whole, events, why, stopped }) => {
  const request = format.decode({ model: 'm', ...body }, { headers: {} });
  const meta = { id: 'i', requestId: 'r', request, createdAt: 1, target: 'p/m' };
  const encoder = format.encodeStream(meta);
  const collector = createCollector();
  let text = '';
  for (const event of events) {
    text += encoder.push(event);
    collector.push(event);
  }
  text += encoder.end();
  const answer = whole(JSON.parse(JSON.stringify(format.encodeWhole(collector.result(), meta))));
  expect(streamed(text)).toEqual(answer);
  if (why && stopped) expect(answer).toMatchObject(stopped(why));
});
