import { expect, test } from 'vitest';
import { anonymous, type Caller } from '../../src/core/run.ts';
import { createActiveRequests } from '../../src/http/active.ts';
import { createApp } from '../../src/http/app.ts';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { metricsRoutes } from '../../src/http/routes/metrics.ts';
import { prometheusMeter } from '../../src/observability/metrics.node.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { answerOf, gatewayWith, scripted } from './harness.ts';

function app(caller: Caller = anonymous) {
  const meter = prometheusMeter({ process: false });
  const metrics = createMetrics(meter, { knowsModel: (model) => model === 'demo' });
  const deps = {
    gateway: gatewayWith({ providers: [scripted('up', answerOf('a'))], sinks: [metrics.record] }),
    policy: openPolicy(caller),
    active: createActiveRequests(),
    options: defaultHttpOptions,
    observe: metrics.http,
    describeModel: async () => ({ ownedBy: 'up', created: 0 }),
    health: () => ({ ready: true, parts: {} }),
  };
  return createApp({ ...deps, routes: metricsRoutes(deps, meter) });
}

test('a scrape tells of requests that were answered, refused and not understood', async () => {
  const gateway = app();
  const post = (body: string) => gateway.request('/v1/chat/completions', { method: 'POST', body });
  const messages = [{ role: 'user', content: 'hi' }];
  await (await post(JSON.stringify({ model: 'demo', messages }))).text();
  await (await post(JSON.stringify({ model: 'nobody', messages }))).text();
  await (await post('{')).text();
  await (await gateway.request('/no/such/path')).text();
  const response = await gateway.request('/metrics');
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const text = await response.text();
  for (const line of [
    'tidegate_requests_total{endpoint="/v1/chat/completions",model="demo",outcome="ok"} 1',
    'tidegate_requests_total{endpoint="/v1/chat/completions",model="_other",outcome="model_not_found"} 1',
    'tidegate_http_requests_total{route="/v1/chat/completions",method="POST",code="200"} 1',
    'tidegate_http_requests_total{route="/v1/chat/completions",method="POST",code="404"} 1',
    'tidegate_http_requests_total{route="/v1/chat/completions",method="POST",code="400"} 1',
  ]) {
    expect(text).toContain(`${line}\n`);
  }
  expect(text).not.toContain('/no/such/path');
});

test.each([
  { name: 'an admin', caller: anonymous, status: 200 },
  { name: 'a key without the endpoint', caller: { ...anonymous, role: 'caller' as const }, status: 403 },
  { name: 'a key with it', caller: { ...anonymous, role: 'caller' as const, endpoints: ['/metrics'] }, status: 200 },
])('$name gets $status from /metrics', async ({ caller, status }) => {
  expect((await app(caller).request('/metrics')).status).toBe(status);
});
