import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream, json, sse } from '../faulty-upstream.ts';
import { appOver } from '../routing/pass-through/harness.ts';
import { post } from './post.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const claude = (...content: object[]) =>
  json({
    ...{ id: 'm', type: 'message', role: 'assistant', model: 'm', stop_reason: 'tool_use', content },
    usage: { input_tokens: 1, output_tokens: 1 },
  });
const gemini = (...parts: object[]) => ({
  body: [
    sse({
      candidates: [{ content: { parts }, index: 0, finishReason: 'STOP' }],
      usageMetadata: { promptTokenCount: 1 },
    }),
  ],
});
const thought = { type: 'thinking', thinking: 'I will look.', signature: 'sig==' };
const hidden = { type: 'redacted_thinking', data: 'opaque' };
const call = { type: 'tool_use', id: 'toolu_1', name: 'look', input: {} };
const said = (index: number): object[] => upstream.requests.at(-1)?.json['messages'][index].content;

/** Two turns of a tool loop in the Responses API, as agents make them: what came is sent back. */
async function loop(first: string, second: string, answers: (() => void)[], reasoning = {}) {
  const tools = [{ type: 'function', name: 'look', parameters: { type: 'object' } }];
  const asked = { model: 'test', store: false, include: ['reasoning.encrypted_content'], reasoning, tools };
  const input = [{ role: 'user', content: 'Look.' }];
  answers[0]?.();
  const reply = await post(appOver(upstream, first), '/v1/responses', { ...asked, input });
  const { output } = (await reply.json()) as { output: { type: string; call_id?: string }[] };
  const callId = output.find(({ type }) => type === 'function_call')?.call_id;
  const result = { type: 'function_call_output', call_id: callId, output: 'A cat.' };
  answers[1]?.();
  const next = await post(appOver(upstream, second), '/v1/responses', {
    ...asked,
    input: [...input, ...output, result],
  });
  expect([reply.status, next.status]).toEqual([200, 200]);
}
const fromClaude = () => upstream.answer(claude(thought, hidden, call));
const fromGemini = () =>
  upstream.answer(
    gemini({ text: 'Hm.', thought: true }, { functionCall: { name: 'look', args: {} }, thoughtSignature: 'g==' }),
  );

test.each([
  { name: 'as a summary', reasoning: { effort: 'low', summary: 'auto' } },
  { name: 'as they are', reasoning: { effort: 'low' } },
])('what Claude thought goes back to it signed, through a client of Responses, $name', async ({ reasoning }) => {
  await loop('anthropic', 'anthropic', [fromClaude, fromClaude], reasoning);
  expect(said(1)).toEqual([thought, hidden, call]);
});

test('what Gemini signed goes back beside its call, through the same client', async () => {
  await loop('gemini', 'gemini', [fromGemini, fromGemini]);
  const [, turn] = upstream.requests.at(-1)?.json['contents'] ?? [];
  expect(turn.parts).toEqual([{ functionCall: { name: 'look', args: {} }, thoughtSignature: 'g==' }]);
});

test.each(['gemini', 'openai'])('what %s proved is not told to Claude as its own', async (first) => {
  const input = [
    { role: 'user', content: 'Look.' },
    { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Hm.' }], encrypted_content: 'gAAAA' },
    { type: 'function_call', call_id: 'toolu_1', name: 'look', arguments: '{}' },
    { type: 'function_call_output', call_id: 'toolu_1', output: 'A cat.' },
  ];
  if (first === 'gemini') await loop('gemini', 'anthropic', [fromGemini, fromClaude]);
  else {
    fromClaude();
    await post(appOver(upstream, 'anthropic'), '/v1/responses', { model: 'test', store: false, input });
  }
  expect(said(1)).toMatchObject([{ type: 'tool_use', name: 'look' }]);
});

test('a client of the Messages API gets no signature of Gemini’s that it would give to Claude', async () => {
  const app = appOver(upstream, 'gemini');
  const tools = [{ name: 'look', input_schema: { type: 'object' } }];
  const body = { model: 'test', max_tokens: 9, tools, messages: [{ role: 'user', content: 'Look.' }] };
  fromGemini();
  const whole = (await (await post(app, '/v1/messages', body)).json()) as { content: object[] };
  expect(whole.content[0]).toEqual({ type: 'thinking', thinking: 'Hm.', signature: '' });
  fromGemini();
  expect(await (await post(app, '/v1/messages', { ...body, stream: true })).text()).not.toContain('g==');
});

test('what we packed of another upstream’s answer is not told to a server of Responses, which would refuse it', async () => {
  const answer = json({ id: 'resp_up', object: 'response', status: 'completed', model: 'm', output: [] });
  const ofUpstream = { type: 'reasoning', id: 'rs_up', summary: [], encrypted_content: 'gAAAA' };
  const asked = { role: 'user', content: 'Hi.' };
  const send = async (input: object[]) => {
    upstream.answer(answer);
    await post(appOver(upstream, 'openai'), '/v1/responses', { model: 'test', store: false, input });
    return upstream.requests.at(-1)?.json['input'];
  };
  await loop('anthropic', 'openai', [fromClaude, () => upstream.answer(answer)]);
  const types = upstream.requests.at(-1)?.json['input'].map(({ type = 'message' }) => type);
  expect(types).toEqual(['message', 'function_call', 'function_call_output']);
  const unsigned = { type: 'reasoning', id: 'rs_abc_0', summary: [{ type: 'summary_text', text: 'Hm.' }] };
  expect(await send([unsigned, ofUpstream, asked])).toEqual([ofUpstream, asked]);
  const summary = { type: 'compaction', encrypted_content: `tidegate.1.${btoa('It rained.')}` };
  const told = { type: 'message', role: 'developer', content: 'Summary of the conversation so far:\nIt rained.' };
  expect(await send([summary, asked])).toEqual([told, asked]);
});
