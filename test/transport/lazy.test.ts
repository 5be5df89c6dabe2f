import { expect, test } from 'vitest';
import type { Transport, TransportRequest, TransportResponse } from '../../src/core/transport.ts';
import { lazyTransport } from '../../src/transport/lazy.ts';

const request: TransportRequest = { method: 'GET', url: 'https://upstream.test/', headers: {} };
const answer = { status: 200 } as TransportResponse; // nobody reads it
const options = { signal: new AbortController().signal };

function counted() {
  const seen = { loads: 0, closed: 0 };
  const transport: Transport = {
    send: async () => answer,
    close: async () => void seen.closed++,
  };
  const load = async () => {
    seen.loads++;
    return transport;
  };
  return { seen, load };
}

test('is loaded once, by the first request, and closed with what was loaded', async () => {
  const { seen, load } = counted();
  const lazy = lazyTransport(load);
  expect(seen.loads).toBe(0);
  const answers = await Promise.all([lazy.send(request, options), lazy.send(request, options)]);
  expect([...answers, await lazy.send(request, options)]).toEqual([answer, answer, answer]);
  await lazy.close?.();
  expect(seen).toEqual({ loads: 1, closed: 1 });
});

test('is not loaded only to be closed', async () => {
  const { seen, load } = counted();
  await lazyTransport(load).close?.();
  expect(seen).toEqual({ loads: 0, closed: 0 });
});
