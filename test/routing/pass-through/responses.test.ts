import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream, named } from '../../faulty-upstream.ts';
import { finish, text, upstream } from '../harness.ts';
import { appOver, call, type Data, dataOf, pieces, post, whole } from './harness.ts';

let broken: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
});
afterAll(() => broken.close());

const responsesStream = (() => {
  let sequence_number = 0;
  const event = (type: string, fields: object) => named(type, { type, sequence_number: sequence_number++, ...fields });
  const response = {
    id: 'resp_up',
    object: 'response',
    created_at: 7,
    status: 'in_progress',
    model: 'gpt-up',
    output: [],
    temperature: 0.5,
    metadata: { a: 'b' },
  };
  const at = (item_id: string, output_index: number, more = {}) => ({ item_id, output_index, ...more });
  const thought = { id: 'rs_up', type: 'reasoning', summary: [] as object[] };
  const search = { id: 'ws_up', type: 'web_search_call', status: 'completed' };
  const message = { id: 'msg_up', type: 'message', role: 'assistant', status: 'in_progress', content: [] as object[] };
  const calling = {
    id: 'fc_up',
    type: 'function_call',
    call_id: call.id,
    name: call.name,
    arguments: '',
    status: 'in_progress',
  };
  const summary = at('rs_up', 0, { summary_index: 0 });
  const part = at('msg_up', 2, { content_index: 0 });
  const said = { type: 'output_text', text: whole, annotations: [], logprobs: [] };
  return [
    event('response.created', { response }),
    event('response.in_progress', { response }),
    event('response.output_item.added', { output_index: 0, item: thought }),
    event('response.reasoning_summary_part.added', { ...summary, part: { type: 'summary_text', text: '' } }),
    event('response.reasoning_summary_text.delta', { ...summary, delta: 'hm, ' }),
    event('response.reasoning_summary_text.delta', { ...summary, delta: 'the tide' }),
    event('response.reasoning_summary_text.done', { ...summary, text: 'hm, the tide' }),
    event('response.reasoning_summary_part.done', { ...summary, part: { type: 'summary_text', text: 'hm, the tide' } }),
    event('response.output_item.done', {
      output_index: 0,
      item: { ...thought, summary: [{ type: 'summary_text', text: 'hm, the tide' }], encrypted_content: 'sealed' },
    }),
    event('response.output_item.added', { output_index: 1, item: { ...search, status: 'in_progress' } }),
    event('response.output_item.done', { output_index: 1, item: search }),
    event('response.output_item.added', { output_index: 2, item: message }),
    event('response.content_part.added', { ...part, part: { ...said, text: '' } }),
    ...pieces(whole).map((piece) => event('response.output_text.delta', { ...part, delta: piece, logprobs: [] })),
    event('response.output_text.done', { ...part, text: whole, logprobs: [] }),
    event('response.content_part.done', { ...part, part: said }),
    event('response.output_item.done', { output_index: 2, item: { ...message, status: 'completed', content: [said] } }),
    event('response.output_item.added', { output_index: 3, item: calling }),
    ...pieces(call.args).map((piece) =>
      event('response.function_call_arguments.delta', { ...at('fc_up', 3), delta: piece }),
    ),
    event('response.function_call_arguments.done', { ...at('fc_up', 3), name: call.name, arguments: call.args }),
    event('response.output_item.done', {
      output_index: 3,
      item: { ...calling, arguments: call.args, status: 'completed' },
    }),
  ];
})();

/** Throws unless the events are a valid Response: numbered without gaps, items and parts opened and closed once. */
function readResponse(events: Data[]) {
  expect(events.map(({ sequence_number: number }) => number)).toEqual(events.map((_, index) => index));
  const items = new Map<number, { id: string; type: string; done: boolean; text: string; parts: number }>();
  for (const event of events) {
    const item = items.get(event.output_index);
    if (event.type === 'response.output_item.added') {
      expect(event.output_index).toBe(items.size);
      const { id, type } = event.item;
      items.set(event.output_index, { id, type, done: false, text: '', parts: 0 });
      continue;
    }
    if (event.output_index === undefined) continue;
    expect(item?.done).toBe(false);
    if (!item) continue;
    if (event.item_id !== undefined) expect(event.item_id).toBe(item.id);
    if (/part\.added$/.test(event.type)) {
      expect(item.parts).toBe(0);
      item.parts = 1;
    } else if (/part\.done$/.test(event.type)) {
      expect(item.parts).toBe(1);
      item.parts = 0;
    } else if (event.type.endsWith('.delta')) item.text += event.delta;
    else if (event.type === 'response.output_item.done') {
      expect(item.parts).toBe(0);
      item.done = true;
    }
  }
  return [...items.values()];
}

describe('a Response that passed through', () => {
  test.each(responsesStream.map((_, k) => ({ k: k + 1 })))(
    'and broke after event $k is finished under its own ids and numbers',
    async ({ k }) => {
      broken.answer({ body: [responsesStream.slice(0, k).join(''), 'reset'] });
      const app = appOver(broken, 'openai');
      const asked = { input: 'hi', store: false, reasoning: { summary: 'auto' } };
      const events = dataOf(await (await post(app, '/v1/responses', asked)).text());
      const last = events.at(-1);
      if (responsesStream[k - 1]?.includes('"web_search_call","status":"in_progress"')) {
        expect(last).toMatchObject({ type: 'response.failed', response: { id: expect.any(String) } });
        expect(events.at(-2)).toMatchObject({ type: 'error', code: 'upstream_error' });
        return;
      }
      const items = readResponse(events);
      expect(last).toMatchObject({
        type: 'response.completed',
        response: {
          id: 'resp_up',
          created_at: 7,
          model: 'gpt-up',
          status: 'completed',
          temperature: 0.5,
          metadata: { a: 'b' },
          usage: { tidegate_parts: [{ target: 'broken/m' }, { target: 'healthy/m' }] },
        },
      });
      const joined = (type: string) => items.flatMap((item) => (item.type === type ? item.text : [])).join('');
      expect(joined('message')).toBe(whole);
      expect(joined('function_call')).toBe(call.args);
      expect(items.filter(({ type }) => type === 'function_call')).toHaveLength(1);
      expect(joined('reasoning')).toBe(['', '', '', '', '', 'hm, '][k] ?? 'hm, the tide');
      // The Response at the end is what was streamed.
      const { output } = last.response;
      expect(output.map(({ id, type }: Data) => [id, type])).toEqual(items.map(({ id, type }) => [id, type]));
      const text = output.flatMap(({ content }: Data) => content?.map((part: Data) => part.text) ?? []).join('');
      expect(text).toBe(whole);
      expect(output.find(({ type }: Data) => type === 'function_call').arguments).toBe(call.args);
      if (k > 8) expect(output[0]).toMatchObject({ id: 'rs_up', encrypted_content: 'sealed' });
      expect(app.records).toMatchObject([{ outcome: 'ok' }]);
    },
  );

  test('and broke in a refusal goes on with it', async () => {
    const part = { item_id: 'msg_up', output_index: 0, content_index: 0 };
    const events = [
      { type: 'response.created', response: { id: 'resp_up', created_at: 7, model: 'up', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item: { id: 'msg_up', type: 'message', content: [] } },
      { type: 'response.content_part.added', ...part, part: { type: 'refusal', refusal: '' } },
      { type: 'response.refusal.delta', ...part, delta: 'I will' },
    ].map((event, sequence_number) => named(event.type, { ...event, sequence_number }));
    broken.answer({ body: [events.join(''), 'reset'] });
    const app = appOver(broken, 'openai', upstream('b', [[text(' not.'), finish()]], { prefill: true, tools: true }));
    const said = dataOf(await (await post(app, '/v1/responses', { input: 'hi', store: false })).text());
    expect(said.map(({ sequence_number: number }) => number)).toEqual(said.map((_, index) => index));
    expect(said.at(-1).response.output).toMatchObject([
      { id: 'msg_up', content: [{ type: 'refusal', refusal: 'I will not.' }] },
    ]);
  });
});
