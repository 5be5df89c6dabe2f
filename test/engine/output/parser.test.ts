import { describe, expect, test } from 'vitest';
import type { CompletionEvent } from '../../../src/core/event.ts';
import { createCollector } from '../../../src/core/streams.ts';
import { createOutputParser, type ParserOptions } from '../../../src/engine/output/parser.ts';
import { syntaxOf } from '../../../src/engine/output/syntax.ts';

const hermes = syntaxOf(undefined);
const llama3 = syntaxOf('{{ tools }} <|python_tag|> "parameters": ');
const mistral = syntaxOf('{{ tools }} [TOOL_CALLS]');
const calls = (syntax = hermes, more: object = {}): Pick<ParserOptions, 'calls'> => ({
  calls: {
    syntax,
    isTool: (name) => ['get', 'put', 'run'].includes(name),
    kindOf: (name) => (name === 'run' ? 'custom' : 'function'),
    forced: false,
    delivered: [],
    ...more,
  },
});
const thinking = { thinking: { open: '<think>', close: '</think>', begun: false } };

/** What a client would have, with the text cut into pieces of `size`. */
function read(text: string, options: Partial<ParserOptions>, size = text.length, reason: 'stop' | 'length' = 'stop') {
  const parser = createOutputParser({ choice: 0, ...options });
  const events: CompletionEvent[] = [];
  for (let i = 0; i < text.length; i += size) events.push(...parser.push(text.slice(i, i + size)));
  events.push(...parser.finish(reason));
  const collector = createCollector();
  for (const event of events) collector.push(event);
  const [choice] = collector.result().choices;
  return {
    text: choice?.text ?? '',
    calls: choice?.toolCalls.map(({ name, arguments: args }) => `${name} ${args}`) ?? [],
    reasoning: choice?.reasoning.map((block) => block.text).join('|') ?? '',
    finish: choice?.finishReason,
  };
}

const call = '<tool_call>\n{"name": "get", "arguments": {"a": [1, {"b": "}<\\""}]}}\n</tool_call>';
const cases = [
  {
    name: 'plain text',
    text: 'Hello <b>you</b>',
    options: calls(),
    answer: { text: 'Hello <b>you</b>', calls: [], finish: 'stop' },
  },
  {
    name: 'one call',
    text: call,
    options: calls(),
    answer: { text: '', calls: ['get {"a": [1, {"b": "}<\\""}]}'], finish: 'tool-calls' },
  },
  {
    name: 'text, then two calls',
    text: `Sure.\n${call}\n<tool_call>{"name":"put","arguments":{}}</tool_call>`,
    options: calls(),
    answer: { text: 'Sure.\n', calls: ['get {"a": [1, {"b": "}<\\""}]}', 'put {}'], finish: 'tool-calls' },
  },
  {
    name: 'arguments before the name',
    text: '<tool_call>{"arguments": {"x": 1}, "name": "get"}</tool_call>',
    options: calls(),
    answer: { text: '', calls: ['get {"x": 1}'], finish: 'tool-calls' },
  },
  {
    name: 'a call of nothing we know',
    text: '<tool_call>{"name": "zap", "arguments": {}}</tool_call>',
    options: calls(),
    answer: { text: '<tool_call>{"name": "zap", "arguments": {}}</tool_call>', calls: [], finish: 'stop' },
  },
  {
    name: 'a mark without a call',
    text: '<tool_call> is a tag',
    options: calls(),
    answer: { text: '<tool_call> is a tag', calls: [], finish: 'stop' },
  },
  {
    name: 'a mark that is never completed',
    text: 'x <tool',
    options: calls(),
    answer: { text: 'x <tool', calls: [], finish: 'stop' },
  },
  {
    name: 'a custom tool',
    text: '<tool_call>{"name": "run", "arguments": {"input": "a \\"b\\"\\n"}}</tool_call>',
    options: calls(),
    answer: { text: '', calls: ['run a "b"\n'], finish: 'tool-calls' },
  },
  {
    name: 'bare JSON calls',
    text: '{"name": "get", "parameters": {"q": "x"}}',
    options: calls(llama3),
    answer: { text: '', calls: ['get {"q": "x"}'], finish: 'tool-calls' },
  },
  {
    name: 'two bare JSON calls',
    text: '{"name": "get", "parameters": {}}; {"name": "put", "parameters": {"a":1}}',
    options: calls(llama3),
    answer: { text: '', calls: ['get {}', 'put {"a":1}'], finish: 'tool-calls' },
  },
  {
    name: 'bare JSON that is no call',
    text: '{"answer": 42}',
    options: calls(llama3),
    answer: { text: '{"answer": 42}', calls: [], finish: 'stop' },
  },
  {
    name: 'an array of calls',
    text: '[TOOL_CALLS] [{"name": "get", "arguments": {"a": 1}}, {"name": "put", "arguments": {}}]',
    options: calls(mistral),
    answer: { text: '', calls: ['get {"a": 1}', 'put {}'], finish: 'tool-calls' },
  },
  {
    name: 'thinking',
    text: '<think>\nHm, <b>.\n</think>\n\nYes.',
    options: thinking,
    answer: { text: 'Yes.', reasoning: 'Hm, <b>.\n', finish: 'stop' },
  },
  {
    name: 'thinking that the prompt began',
    text: 'Hm.</think>Yes.',
    options: { thinking: { ...thinking.thinking, begun: true } },
    answer: { text: 'Yes.', reasoning: 'Hm.', finish: 'stop' },
  },
  {
    name: 'thinking, then a call',
    text: `<think>Hm.</think>\n${call}`,
    options: { ...calls(), ...thinking },
    answer: { text: '', reasoning: 'Hm.', calls: ['get {"a": [1, {"b": "}<\\""}]}'], finish: 'tool-calls' },
  },
];

describe('what a model writes', () => {
  test.each(cases)('$name is read alike however it is cut', ({ text, options, answer }) => {
    for (let size = 1; size <= text.length; size++)
      expect({ size, ...read(text, options, size) }).toMatchObject({ size, ...answer });
  });

  test('a call cut by the token limit keeps its arguments and says length', () => {
    expect(read('<tool_call>{"name": "get", "arguments": {"a": "lo', calls(), 5, 'length')).toMatchObject({
      calls: ['get {"a": "lo'],
      finish: 'length',
    });
  });

  const forced = calls(hermes, { forced: true });
  const twoCalls = `Sure, I <i>will</i>.\n${call}\n<tool_call>{"name": "put", "arguments": {"x": 1}}\n</tool_call>`;
  test.each([
    { name: 'calls behind text', text: twoCalls, options: calls() },
    { name: 'a call that had to come', text: call, options: forced },
    {
      name: 'a bare call that had to come',
      text: '{"name": "get", "parameters": {"q": 1}}',
      options: calls(llama3, { forced: true }),
    },
    {
      name: 'an array of calls',
      text: '[TOOL_CALLS] [{"name": "get", "arguments": {"a": 1}}]',
      options: calls(mistral),
    },
    { name: 'thinking', text: '<think>Hm, a < b.</think>\nYes, a < b.', options: thinking },
    { name: 'thinking, then a call', text: `<think>Hm.</think>\n${call}`, options: { ...calls(), ...thinking } },
  ])('$name: the token limit leaves no piece of a mark behind, wherever it cuts', ({ text, options }) => {
    const whole = read(text, options);
    for (let cut = 1; cut < text.length; cut++) {
      const answer = read(text.slice(0, cut), options, 3, 'length');
      const seen = `${cut}: ${JSON.stringify(answer)}`;
      expect(answer.finish, seen).toBe('length');
      // Up to three characters may be anything: a comparison, another tag.
      expect(`${answer.text}${answer.reasoning}`, seen).not.toMatch(/<\/?(?:tool|thin)|\[TOOL|"name"/);
      expect(whole.text.startsWith(answer.text.replace(/(?:<|\[)[^<[]{0,3}$/, '')), seen).toBe(true);
      for (const [i, told] of answer.calls.entries())
        expect(whole.calls[i]?.startsWith(told.trimEnd()), seen).toBe(true);
    }
  });

  test('a call that had to come is never text, however little came of it', () => {
    for (let cut = 1; cut <= 20; cut++) {
      for (const reason of ['length', 'stop'] as const) {
        expect(read(call.slice(0, cut), forced, 1, reason)).toMatchObject({ text: '', calls: [], finish: reason });
      }
    }
  });

  test('a comparison at the token limit is text', () => {
    expect(read('if a <', calls(), 1, 'length').text).toBe('if a <');
    expect(read('{"answer": 4', calls(llama3), 1, 'length').text).toBe('{"answer": 4');
  });

  test('arguments are told while they are written', () => {
    const parser = createOutputParser({ choice: 0, ...calls() });
    parser.push('<tool_call>{"name": "get", "arguments": {"a"');
    expect(parser.push(': "xyz')).toEqual([{ type: 'tool-call-delta', choice: 0, index: 0, arguments: ': "xyz' }]);
  });

  test('an open call of an earlier target goes on without a second start', () => {
    const delivered = [{ id: 'call_1', kind: 'function' as const, name: 'get', arguments: '{"a": "he' }];
    const parser = createOutputParser({ choice: 0, ...calls(hermes, { delivered }) });
    const events = [...parser.push('llo"}}\n</tool_call>'), ...parser.finish('stop')];
    expect(events).toEqual([
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: 'llo"}' },
      { type: 'finish', choice: 0, reason: 'tool-calls' },
    ]);
  });
});
