import { expect, test } from 'vitest';
import { observeMessages } from '../../providers/anthropic/answer.ts';
import { observeResponses } from '../../providers/openai/responses.ts';
import { observeChat } from '../../providers/shared/observe-chat.ts';
import { type Seen, type StreamObserver, seeAll, seeEvents } from '../../providers/shared/see-events.ts';

const utf8 = new TextEncoder();
const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const named = (type: string, more: object = {}) => `event: ${type}\n${data({ type, ...more })}`;
const delta = (content: string, finish_reason: string | null = null) =>
  data({ id: 'a', model: 'm', choices: [{ index: 0, delta: { content }, finish_reason }] });
const call = { index: 0, id: 'c', function: { name: 'f', arguments: '{}' } };
const toolCall = data({ id: 'a', choices: [{ index: 0, delta: { tool_calls: [call] }, finish_reason: null }] });
const usage = data({ id: 'a', model: 'm', choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
const done = 'data: [DONE]\n\n';

const chat = () => observeChat({ choices: 1, dropUsage: false });
const dropping = () => observeChat({ choices: 1, dropUsage: true });

test.each<[string, () => StreamObserver, readonly string[]]>([
  ['a chat', chat, [delta('a'), delta('"error": "usage":{'), delta('c'), delta('', 'stop'), usage, done]],
  ['usage that nobody asked for', dropping, [delta('a'), delta('b', 'length'), usage, done]],
  ['usage in the middle', dropping, [delta('a'), usage, delta('b'), delta('', 'stop'), done]],
  ['a tool call', chat, [delta('a'), toolCall, delta('', 'tool_calls'), done]],
  [
    'an error after some text',
    chat,
    [delta('a'), delta('b'), data({ error: { message: 'no', code: 500 } }), delta('c')],
  ],
  ['an error first', chat, [data({ error: { message: 'no' } }), delta('c')]],
  ['more after the end', chat, [delta('a', 'stop'), done, delta('b'), done]],
  ['an end without a finish', chat, [delta('a'), done]],
  ['a broken object', chat, [delta('a'), 'data: {"usage":{]}\n\n', delta('b', 'stop')]],
  ['comments and CRLF', chat, [': hi\n\n', delta('a'), delta('b', 'stop').replaceAll('\n', '\r\n'), usage, done]],
  ['two data lines and an id', chat, [delta('a'), 'id: 7\ndata: {"choices":\ndata: []}\n\n', delta('b', 'stop'), done]],
  ['an event named error', chat, [delta('a'), `event: error\n${data({ error: 'no' })}`, delta('b')]],
  [
    'a response',
    observeResponses,
    [
      named('response.created', { response: { id: 'r', model: 'm' } }),
      named('response.output_text.delta', { delta: 'a' }),
      named('response.output_text.delta', { delta: 'b' }),
      named('response.completed', { response: { status: 'completed', usage: { input_tokens: 1, output_tokens: 2 } } }),
    ],
  ],
  [
    'a message',
    observeMessages,
    [
      named('message_start', { message: { id: 'm', usage: { input_tokens: 1 } } }),
      named('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      named('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'a' } }),
      named('ping'),
      named('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'b' } }),
      named('content_block_stop', { index: 0 }),
      named('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } }),
      named('message_stop'),
    ],
  ],
])('%s tells the same however it is cut, looked at in part or as a whole', (_, observe, events) => {
  const expected = tell(observe(), [events], true);
  for (let size = 1; size <= events.length; size++) {
    const pieces = Array.from({ length: Math.ceil(events.length / size) }, (_, i) =>
      events.slice(i * size, i * size + size),
    );
    expect(tell(observe(), pieces, false)).toEqual(expected);
  }
});

/** What goes on and what is told of a stream that comes in such pieces. */
function tell(observer: StreamObserver, pieces: readonly (readonly string[])[], whole: boolean) {
  let first = true;
  let wire = '';
  const told: Seen['events'][number][] = [];
  for (const piece of pieces) {
    const text = piece.join('');
    const bytes = utf8.encode(text);
    const seen = whole ? seeAll(bytes, observer, false) : seeEvents(bytes, text, observer, first);
    if (!seen) {
      wire += text;
      continue;
    }
    if (seen.known) first = false;
    wire += new TextDecoder().decode(seen.wire);
    told.push(...seen.events);
    if (seen.failure) return { wire, told, failure: seen.failure.message };
    if (seen.last) break;
  }
  return { wire: wire.replaceAll('\r\n', '\n').replace(': hi\n\n', ''), told };
}
