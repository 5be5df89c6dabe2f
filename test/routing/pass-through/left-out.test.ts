import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream } from '../../faulty-upstream.ts';
import { appOver, post } from './harness.ts';

let first: FaultyUpstream;
beforeAll(async () => {
  first = await faultyUpstream();
});
afterAll(() => first.close());

const usage = { input_tokens: 3, output_tokens: 1, total_tokens: 4 };
const dialects = [
  {
    type: 'openai',
    path: '/v1/responses',
    asked: {
      store: false,
      input: [
        { role: 'user', content: 'hi' },
        { type: 'web_search_call', id: 'ws_1', status: 'completed' },
      ],
      tools: [{ type: 'web_search' }],
      tool_choice: { type: 'web_search' },
      truncation: 'auto',
      context_management: [{ type: 'compaction' }],
    },
    answer: {
      id: 'resp_up',
      object: 'response',
      status: 'completed',
      model: 'up',
      output: [
        {
          type: 'message',
          id: 'm',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'up', annotations: [] }],
        },
      ],
      usage,
    },
    warning:
      "ignored: input item 'web_search_call', field 'context_management', truncation 'auto', tool type 'web_search'",
  },
  {
    type: 'anthropic',
    path: '/v1/messages',
    asked: {
      max_tokens: 50,
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: [{ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }] },
        { role: 'user', content: 'and now?' },
      ],
      tools: [{ type: 'web_search_20250305', name: 'web_search' }],
      tool_choice: { type: 'tool', name: 'web_search' },
    },
    answer: {
      id: 'msg_up',
      type: 'message',
      role: 'assistant',
      model: 'up',
      content: [{ type: 'text', text: 'up' }],
      stop_reason: 'end_turn',
      usage,
    },
    warning: "ignored: block type 'server_tool_use', tool type 'web_search_20250305'",
  },
];

test.each(dialects)('hosted tools reach an upstream of $path, and nothing is said to be left out', async (dialect) => {
  first.answer({ headers: { 'content-type': 'application/json' }, body: [JSON.stringify(dialect.answer)] });
  const response = await post(appOver(first, dialect.type), dialect.path, { ...dialect.asked, stream: false });
  expect([response.status, response.headers.get('x-tidegate-warning')]).toEqual([200, null]);
  const { tools, tool_choice } = dialect.asked;
  expect(first.requests.at(-1)?.json).toMatchObject({ tools, tool_choice });
});

test.each(dialects)('hosted tools of $path that nobody runs are named in a warning', async (dialect) => {
  first.answer({ status: 503, body: ['{}'] });
  for (const stream of [false, true]) {
    const response = await post(appOver(first, dialect.type), dialect.path, { ...dialect.asked, stream });
    expect([response.status, response.headers.get('x-tidegate-warning')]).toEqual([200, dialect.warning]);
    await response.text();
  }
});
