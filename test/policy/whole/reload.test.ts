import { describe, expect, test } from 'vitest';
import { openaiServer } from '../../faulty-upstream.ts';
import { gatewayOf, words } from './harness.ts';

describe('a changed file', () => {
  test('changes caches, limits, audit and the ledger’s policies without a restart', async () => {
    const before = `cache: { response: { ttl: 1m } }
limits: { perKey: { requestsPerMinute: 100 } }
ledger: {}
`;
    const { chat, write, gateway, admin, folder, upstream } = await gatewayOf(before);
    const cacheOf = async (more = {}, headers = {}) => {
      const response = await chat(more, headers);
      await response.text();
      return response.headers.get('x-tidegate-cache');
    };
    expect([await cacheOf(), await cacheOf()]).toEqual(['miss', 'hit']);
    write(`cache: { response: { ttl: 1m }, maxAnswerBytes: 300, idempotency: { inFlight: conflict } }
limits: { perKey: { requestsPerMinute: 200 } }
ledger: { usageRetention: 400d, whenLost: refuse }
audit: { requests: false, content: { keep: true } }
server: { maxBodyBytes: 500 }
`);
    expect(await gateway().reload()).toEqual({ restart: [] });
    expect(await cacheOf()).toBe('hit'); // what was kept stays
    upstream.answer(openaiServer(['a long answer '.repeat(30)]));
    expect([await cacheOf({ seed: 1 }), await cacheOf({ seed: 1 })]).toEqual(['miss', 'miss']); // too long now
    upstream.answer(words(1, 300));
    const first = chat({ stream: true }, { 'idempotency-key': 'k', 'x-tidegate-cache': 'no-store' });
    await upstream.received(4);
    const second = await chat({ stream: true }, { 'idempotency-key': 'k', 'x-tidegate-cache': 'no-store' });
    expect([second.status, (await first).status]).toEqual([409, 200]);
    expect(second.headers.get('x-ratelimit-limit-requests')).toBe(null);
    expect((await first).headers.get('x-ratelimit-limit-requests')).toBe('200');
    expect((await chat({ messages: [{ role: 'user', content: 'long '.repeat(200) }] })).status).toBe(413);
    const contents = async () => ((await admin('/admin/contents')) as { data: unknown[] }).data.length;
    await expect.poll(contents).toBeGreaterThan(0);
    const { data } = (await admin('/admin/audit?action=request')) as { data: unknown[] };
    expect(data).toHaveLength(2); // none since the change
    expect(folder.path).toBeTruthy();
  });

  test('changes what filters make of answers that are kept: the cache holds what the provider said', async () => {
    const filters = (phrase: string) => `cache: { response: { ttl: 1m } }
filters: { words: { kind: patterns, phrases: [${phrase}], action: mask } }
models: { demo: { targets: [{ provider: up, model: m }], filters: [words] } }
`;
    const { chat, write, gateway, upstream } = await gatewayOf(filters('nothing'));
    const say = async () => {
      const response = await chat();
      const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
      return [response.headers.get('x-tidegate-cache'), choices[0]?.message.content === 'Hello'];
    };
    expect(await say()).toEqual(['miss', true]);
    expect(await say()).toEqual(['hit', true]);
    write(filters('Hello'));
    await gateway().reload();
    expect(await say()).toEqual(['hit', false]);
    write(filters('nothing'));
    await gateway().reload();
    expect(await say()).toEqual(['hit', true]);
    expect(upstream.requests).toHaveLength(1);
  });

  test('what needs a restart is named, in the answer and the log, until the file is as it was', async () => {
    const { write, gateway, lines } = await gatewayOf('ledger: {}\n');
    write(`ledger: { url: "file:elsewhere.db" }
audit: { secret: a-secret-of-sixteen }
server: { port: 9999, heartbeat: 5s }
engine: { slots: 3 }
observability: { history: 5 }
`);
    const restart = ['server.port', 'engine.slots', 'ledger.url', 'audit.secret', 'observability.history'];
    expect(await gateway().reload()).toEqual({ restart });
    const warning = lines.find((line) => line.includes('take effect at the next start'));
    expect(JSON.parse(warning ?? '{}')).toMatchObject({ restart });
    write('ledger: {}\n');
    expect(await gateway().reload()).toEqual({ restart: [] });
  });
});
