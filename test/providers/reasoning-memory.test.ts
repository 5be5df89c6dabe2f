import { expect, test } from 'vitest';
import { createReasoningMemory } from '../../providers/shared/reasoning-memory.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { AssistantMessage } from '../../src/core/request.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';

/** A turn that thought this and then called. */
const turn = (id: string, text: string): CompletionEvent[] => [
  { type: 'reasoning-delta', choice: 0, text },
  { type: 'tool-call-start', choice: 0, index: 0, id, name: 'look', kind: 'function' },
  { type: 'finish', choice: 0, reason: 'tool-calls' },
];

const afterwards = (id: string) =>
  openaiChat.decode(
    {
      model: 'm',
      messages: [
        { role: 'user', content: 'Look.' },
        { role: 'assistant', tool_calls: [{ id, type: 'function', function: { name: 'look', arguments: '{}' } }] },
        { role: 'tool', tool_call_id: id, content: 'A cat.' },
      ],
    },
    { headers: {} },
  );

function remembering() {
  const memory = createReasoningMemory({ unsigned: true });
  return {
    async think(tenant: string, id: string, text: string) {
      for await (const _ of memory.watch(turn(id, text), tenant));
    },
    recall: (tenant: string, id: string) =>
      (memory.restore(afterwards(id), tenant).messages[1] as AssistantMessage).reasoning?.[0]?.text.length, // the turn above
  };
}

test('thoughts beside a call are remembered for whoever made it, and for nobody else', async () => {
  const { think, recall } = remembering();
  await think('ann', 'call_1', 'Hm.');
  expect(['ann', 'bob'].map((tenant) => recall(tenant, 'call_1'))).toEqual([3, undefined]);
});

test('long thoughts leave the memory of others first that were asked for least of late', async () => {
  const { think, recall } = remembering();
  const megabyte = 'x'.repeat(1024 * 1024);
  for (let k = 0; k < 12; k++) await think('ann', `call_${k}`, megabyte);
  const known = Array.from({ length: 12 }, (_, k) => recall('ann', `call_${k}`) !== undefined);
  expect(known).toEqual(known.map((_, k) => k > 4));
});

test('thoughts without end are not gathered', async () => {
  const { think } = remembering();
  await expect(think('ann', 'call_1', 'x'.repeat(17 * 1024 * 1024))).rejects.toMatchObject({ kind: 'upstream_failed' });
});
