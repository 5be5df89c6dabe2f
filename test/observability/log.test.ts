import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { createLog } from '../../src/observability/log.node.ts';
import { ask, contextOf } from '../request.ts';
import { answerOf, drain, gatewayWith, scripted } from './harness.ts';

async function logged(pretty: boolean) {
  const lines: string[] = [];
  const { log, record } = await createLog({ pretty, destination: { write: (line) => void lines.push(line) } });
  return { lines, log, record };
}

test('a request is one JSON line that holds its figures and nothing that was said', async () => {
  const { lines, record } = await logged(false);
  const gateway = gatewayWith({
    providers: [scripted('up', answerOf('whispered', ' answer'))],
    sinks: [record],
  });
  const messages = [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'whispered question' }] }];
  await drain((await gateway.stream(ask({ messages, user: 'someone@example.org' }), contextOf())).events);
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'info',
    msg: 'request',
    request_id: 'req-1',
    model: 'demo',
    target: 'up/m',
    outcome: 'ok',
    status: 200,
    input_tokens: 7,
    output_tokens: 2,
    finish: 'stop',
  });
  expect(lines[0]).not.toMatch(/whispered|someone/);
});

test('a request that its only target failed says which one that was', async () => {
  const { lines, record } = await logged(false);
  const refusing = scripted('up', [new GatewayError('upstream_unauthorized', 'Your credentials are refused.')]);
  const gateway = gatewayWith({ providers: [refusing], sinks: [record] });
  await expect(gateway.stream(ask({}), contextOf())).rejects.toThrow(/credentials/);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    attempts: [expect.stringMatching(/^up\/m upstream_unauthorized /)],
  });
});

test.each([
  { kind: 'cancelled', level: 'info' }, // the client left before the first token
  { kind: 'upstream_rate_limited', level: 'warn' },
] as const)('a request whose attempt ended as $kind is a line of level $level', async ({ kind, level }) => {
  const { lines, record } = await logged(false);
  const gateway = gatewayWith({ providers: [scripted('up', [new GatewayError(kind, 'No.')])], sinks: [record] });
  await expect(gateway.stream(ask({}), contextOf())).rejects.toThrow('No.');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level, outcome: kind });
});

test.each([
  { name: 'a header', value: { headers: { authorization: 'Bearer tg-hidden', 'x-api-key': 'tg-hidden' } } },
  { name: 'a field at the top', value: { apiKey: 'tg-hidden' } },
  { name: 'a message', value: { request: { messages: ['tg-hidden'] } } },
])('a secret or text logged by mistake in $name is redacted', async ({ value }) => {
  const { lines, log } = await logged(false);
  log.info(value, 'oops');
  expect(lines[0]).toContain('[redacted]');
  expect(lines[0]).not.toContain('tg-hidden');
});

test('people at a terminal read lines, not JSON', async () => {
  const { lines, log } = await logged(true);
  log.info({ model: 'demo' }, 'request');
  expect(lines.join('')).toMatch(/^\[\d\d:\d\d:\d\d\] INFO: request \{"model":"demo"\}/);
});
