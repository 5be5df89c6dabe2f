import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createIdempotency, type IdempotencyOptions } from '../../src/cache/idempotency.ts';
import { memoryStore } from '../../src/cache/memory.ts';
import { textStore } from '../../src/cache/text-store.ts';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import type { RequestRecord } from '../../src/core/record.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import { anonymous, type Caller } from '../../src/core/run.ts';
import { sleep } from '../../src/core/signals.ts';
import { forgetCaller } from '../../src/ledger/forget.ts';
import { openTables } from '../../src/ledger/ledger.ts';
import { openSqlite } from '../../src/ledger/sqlite.node.ts';
import { scratch } from '../ledger/databases.ts';
import { drain, gatewayWith } from '../observability/harness.ts';
import { ask, contextOf } from '../request.ts';

function gateway(options: Partial<IdempotencyOptions> = {}) {
  const state = { calls: 0, fail: false };
  const records: RequestRecord[] = [];
  const provider: Provider = {
    name: 'up',
    capabilities: noCapabilities,
    async *stream(_request, { signal }): AsyncGenerator<CompletionEvent> {
      const call = ++state.calls;
      if (state.fail) throw new GatewayError('invalid_request', 'no');
      for (const text of ['answer ', String(call)]) {
        yield { type: 'text-delta', choice: 0, text };
        await sleep(15, signal);
      }
      yield { type: 'finish', choice: 0, reason: 'stop' };
      yield { type: 'usage', usage: { promptTokens: 5, completionTokens: 2 } };
    },
  };
  const idempotency = createIdempotency({ store: memoryStore(), ...options });
  const built = gatewayWith({
    providers: [provider],
    sinks: [(record) => records.push(record)],
    priceOf: () => 1,
    deps: { idempotency },
  });
  const send = async (
    key: string | undefined,
    change: Partial<ChatRequest> = {},
    caller: Caller = anonymous,
    signal = new AbortController().signal,
    own: Record<string, string> = {},
  ) => {
    const headers = { ...own, ...(key !== undefined && { 'idempotency-key': key }) };
    const run = await built.stream(ask(change), contextOf({ headers, caller, signal }));
    const events = await drain(run.events);
    return events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
  };
  return { send, state, records };
}

describe('Idempotency-Key', () => {
  test('the same key and body get the same answer, made and charged once', async () => {
    const { send, state, records } = gateway();
    expect(await send('k')).toBe('answer 1');
    expect(await send('k')).toBe('answer 1');
    expect(await send(undefined)).toBe('answer 2');
    expect(state.calls).toBe(2);
    expect(records.map(({ cache, costUsd }) => [cache, costUsd])).toEqual([
      ['bypass', 1],
      ['hit', 0],
      ['bypass', 1],
    ]);
  });

  test('the same key with another body is a 409', async () => {
    const { send } = gateway();
    await send('k');
    await expect(send('k', { maxTokens: 3 })).rejects.toMatchObject({ status: 409, code: 'idempotency_key_reused' });
  });

  test('over one store two gateways make one answer, also while the first is under way, and after a restart', async () => {
    const folder = scratch();
    const ledger = await openTables(openSqlite(join(folder.path, 'ledger.db')));
    const [one, two] = [gateway({ store: textStore(ledger.answers) }), gateway({ store: textStore(ledger.answers) })];
    expect(await Promise.all([one.send('k'), two.send('k'), one.send('k')])).toEqual(Array(3).fill('answer 1'));
    expect(one.state.calls + two.state.calls).toBe(1);
    expect(await gateway({ store: textStore(ledger.answers) }).send('k')).toBe('answer 1');
    await expect(two.send('k', { maxTokens: 5 })).rejects.toMatchObject({ code: 'idempotency_key_reused' });
    await forgetCaller(ledger.db, ledger.audit, anonymous.id, 'test');
    expect(await two.send('k')).toMatch(/^answer/);
    expect(one.state.calls + two.state.calls).toBe(2); // made anew: nothing of the caller is left
    await ledger.db.close();
    folder.remove();
  });

  test('a store that is away costs the promise over a restart, not the answer', async () => {
    const gone = async () => {
      throw new Error('connection refused');
    };
    const { send, state } = gateway({ store: { get: gone, set: gone, lock: gone } });
    expect(await Promise.all([send('k'), send('k')])).toEqual(['answer 1', 'answer 1']);
    expect(state.calls).toBe(1);
  });

  test('the same key with another account at the upstream is a 409: what that one is told is its payer’s', async () => {
    const { send } = gateway();
    const paidBy = (key: string) => send('k', {}, anonymous, undefined, { 'x-tidegate-upstream-key': key });
    expect(await paidBy('sk-1')).toBe('answer 1');
    expect(await paidBy('sk-1')).toBe('answer 1');
    await expect(paidBy('sk-2')).rejects.toMatchObject({ status: 409, code: 'idempotency_key_reused' });
  });

  test('keys belong to their callers', async () => {
    const { send } = gateway();
    await send('k');
    expect(await send('k', { maxTokens: 3 }, { ...anonymous, id: 'other' })).toBe('answer 2');
    // One id, but callers that a gateway at the edge tells apart.
    expect(await send('k', { maxTokens: 3 }, { ...anonymous, tenant: 'edge:2' })).toBe('answer 3');
  });

  test('while the first is under way the second is a 409 with a retry-after, or waits for the same answer', async () => {
    const strict = gateway({ inFlight: 'conflict' });
    const first = strict.send('k');
    await expect(strict.send('k')).rejects.toMatchObject({
      status: 409,
      code: 'idempotency_key_in_use',
      retryAfterMs: 1000,
    });
    expect(await first).toBe('answer 1');
    const patient = gateway();
    expect(await Promise.all([patient.send('k'), patient.send('k'), patient.send('k')])).toEqual(
      Array(3).fill('answer 1'),
    );
    expect(patient.state.calls).toBe(1);
  });

  test('a failure and a client that left are not kept: the retry is made anew', async () => {
    const { send, state } = gateway();
    state.fail = true;
    await expect(send('k')).rejects.toThrow();
    state.fail = false;
    const leaving = new AbortController();
    const left = send('k', {}, anonymous, leaving.signal).catch(() => 'left');
    await sleep(5, new AbortController().signal);
    leaving.abort();
    expect(await left).toBe('left');
    expect(await send('k')).toBe('answer 3');
  });

  test('an answer is forgotten after its time, and a key may not be endless', async () => {
    const { send } = gateway({ keepMs: 1 });
    await send('k');
    await sleep(20, new AbortController().signal);
    expect(await send('k')).toBe('answer 2');
    await expect(send('k'.repeat(256))).rejects.toMatchObject({ status: 400 });
  });

  test('answers that are made as a whole count towards the memory that they take', async () => {
    const { once } = createIdempotency({ store: memoryStore({ maxBytes: 100_000 }) });
    const made: number[] = [];
    const embed = (i: number) =>
      once({ input: i }, contextOf({ headers: { 'idempotency-key': `k${i}` } }), async () => {
        made.push(i);
        return { vectors: 'x'.repeat(20_000) };
      });
    for (let i = 0; i < 5; i++) await embed(i);
    expect((await embed(4)).again).toBe(true);
    expect((await embed(0)).again).toBe(false); // it had to leave
    expect(made).toEqual([0, 1, 2, 3, 4, 0]);
  });
});
