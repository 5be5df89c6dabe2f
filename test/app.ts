import { noCache } from '../src/cache/through.ts';
import type { Provider } from '../src/core/provider.ts';
import type { RequestRecord } from '../src/core/record.ts';
import { anonymous } from '../src/core/run.ts';
import { noFilters } from '../src/filters/index.ts';
import { createGateway, type GatewayDeps } from '../src/gateway.ts';
import { createActiveRequests } from '../src/http/active.ts';
import { type AppDeps, createApp } from '../src/http/app.ts';
import { defaultHttpOptions } from '../src/http/env.ts';
import { createRecorder } from '../src/observability/record.ts';
import { openPolicy } from '../src/policy/admit.ts';
import { noPrompts } from '../src/prompts/render.ts';
import { createRouting } from '../src/routing/attempt.ts';

/** A whole gateway without sockets: the model `test` is served by `provider`. Parts can be given instead of the plain ones. */
export function appWith(provider: Provider, parts: Partial<GatewayDeps & AppDeps> = {}) {
  const records: RequestRecord[] = [];
  const policy = parts.policy ?? openPolicy(anonymous);
  const gateway = createGateway({
    policy,
    prompts: noPrompts,
    routing: createRouting([
      { name: 'test', filters: [], targets: [{ name: `${provider.name}/m`, provider, model: 'm' }] },
    ]),
    filters: noFilters,
    cache: noCache,
    record: createRecorder([(record) => records.push(record)]),
    ...parts,
  });
  const deps = {
    gateway,
    policy,
    active: createActiveRequests(),
    describeModel: async () => ({ ownedBy: provider.name, created: 1_700_000_000 }),
    health: () => ({ ready: true, parts: {} }),
    ...parts,
    options: { ...defaultHttpOptions, ...parts.options },
  };
  return Object.assign(createApp(deps), { records, gateway, deps });
}

/** Posts a chat request; `model` and one user message are filled in. */
export function chat(
  app: Pick<ReturnType<typeof appWith>, 'request'>,
  body: object = {},
  headers: Record<string, string> = {},
) {
  return app.request('/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'test', messages: [{ role: 'user', content: 'Hi' }], ...body }),
  });
}

/** The JSON of each `data:` line of an SSE body; `[DONE]` stays a string. */
export async function sse(response: Response): Promise<unknown[]> {
  const text = await response.text();
  return text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice('data: '.length))
    .map((data) => (data === '[DONE]' ? data : JSON.parse(data)));
}
