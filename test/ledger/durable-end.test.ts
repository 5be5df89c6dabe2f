import { describe, expect, test } from 'vitest';
import type { CompletionEvent } from '../../src/core/event.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import type { RequestRecord } from '../../src/core/record.ts';
import { gatewayWith } from '../observability/harness.ts';
import { ask, contextOf } from '../request.ts';

const finish: CompletionEvent = { type: 'finish', choice: 0, reason: 'stop' };
const usage: CompletionEvent = { type: 'usage', usage: { promptTokens: 1, completionTokens: 1 } };
const wire = (text: string): CompletionEvent => ({ type: 'wire', bytes: new TextEncoder().encode(text) });

/** A gateway whose durable sink is slow as long as the test likes. */
function gateway(events: readonly (CompletionEvent | Error)[]) {
  const records: RequestRecord[] = [];
  let settle = (_error?: Error) => {};
  const provider: Provider = {
    name: 'up',
    capabilities: noCapabilities,
    async *stream() {
      for (const event of events) {
        if (event instanceof Error) throw event;
        yield event;
      }
    },
  };
  const built = gatewayWith({
    providers: [provider],
    durable: (record) => {
      records.push(record);
      return new Promise((resolve, reject) => {
        settle = (error) => (error ? reject(error) : resolve());
      });
    },
  });
  const seen: string[] = [];
  let state = 'open';
  const read = async () => {
    const run = await built.stream(ask(), contextOf());
    try {
      for await (const event of run.events)
        seen.push(event.type === 'wire' ? new TextDecoder().decode(event.bytes) : event.type);
      state = 'ended';
    } catch {
      state = 'failed';
    }
  };
  return { read, seen, records, state: () => state, settle: (error?: Error) => settle(error) };
}

const idle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('with a ledger, the end of an answer', () => {
  test.each([
    [
      'of events',
      [{ type: 'text-delta', choice: 0, text: 'hi' } as const, finish, usage],
      ['text-delta', 'finish', 'usage'],
      [],
    ],
    [
      'of bytes that pass through',
      [wire('hi'), finish, wire('last'), usage, wire('[DONE]')],
      ['hi', 'finish', 'usage'],
      ['last', '[DONE]'],
    ],
  ])('%s waits until the record is safe', async (_name, events, before, after) => {
    const { read, seen, records, state, settle } = gateway(events);
    const reading = read();
    await idle();
    expect(records).toHaveLength(1);
    expect(records[0]).toMatchObject({ outcome: 'ok', usage: { completionTokens: 1 } });
    expect(seen).toEqual(before);
    expect(state()).toBe('open');
    settle();
    await reading;
    expect(seen).toEqual([...before, ...after]);
    expect(state()).toBe('ended');
  });

  test('is an error where the record cannot be kept', async () => {
    const { read, seen, state, settle } = gateway([wire('hi'), finish, wire('[DONE]')]);
    const reading = read();
    await idle();
    settle(new Error('disk full'));
    await reading;
    expect(state()).toBe('failed');
    expect(seen).not.toContain('[DONE]');
  });

  test('that breaks off is booked without anybody waiting', async () => {
    const { read, records, state } = gateway([{ type: 'text-delta', choice: 0, text: 'hi' }, new Error('reset')]);
    await read();
    expect(state()).toBe('failed');
    expect(records).toHaveLength(1);
    expect(records[0]?.outcome).not.toBe('ok');
  });
});
