/**
 * What admission adds to a request: key check, scopes, four limits, a budget, and the response cache's look-up, with
 * memory stores, against the same gateway without any of them. Goal: at most 0.15 ms p50.
 *
 *     node bench/run.mjs limits
 */
import { cpus, loadavg } from 'node:os';
import { memoryStore } from '../src/cache/memory.ts';
import { createResponseCache } from '../src/cache/response-cache.ts';
import { noCache } from '../src/cache/through.ts';
import { nodeDigest } from '../src/core/digest.node.ts';
import type { CompletionEvent } from '../src/core/event.ts';
import { noCapabilities, type Provider } from '../src/core/provider.ts';
import { type ChatRequest, plainRequest } from '../src/core/request.ts';
import { anonymous } from '../src/core/run.ts';
import { noFilters } from '../src/filters/index.ts';
import { createGateway } from '../src/gateway.ts';
import { createRecorder } from '../src/observability/record.ts';
import { openPolicy } from '../src/policy/admit.ts';
import { createKeyring } from '../src/policy/keyring.ts';
import { makeKey } from '../src/policy/new-key.ts';
import { createPolicy } from '../src/policy/policy.ts';
import { createPrices } from '../src/policy/price.ts';
import { noPrompts } from '../src/prompts/render.ts';
import { createRouting } from '../src/routing/attempt.ts';

const requests = 20_000;
const warmUp = 3000;
const digest = nodeDigest();
const keys = await Promise.all(
  Array.from({ length: 100 }, (_, i) => makeKey({ name: `k${i}`, team: `t${i % 7}` }, digest)),
);
const byDigest = new Map(keys.map(({ record }) => [record.digest, record]));

const answer: CompletionEvent[] = [
  ...Array.from({ length: 8 }, (): CompletionEvent => ({ type: 'text-delta', choice: 0, text: 'word ' })),
  { type: 'finish', choice: 0, reason: 'stop' },
  { type: 'usage', usage: { promptTokens: 300, completionTokens: 8 } },
];
const provider: Provider = {
  name: 'up',
  capabilities: noCapabilities,
  async *stream() {
    yield* answer;
  },
};

const plenty = { requestsPerMinute: 1e9, tokensPerMinute: 1e12, streams: 1e6 };
const guarded = createPolicy({
  keyring: createKeyring({
    digest,
    store: { byDigest: async (hash) => byDigest.get(hash), any: async () => true },
  }),
  limits: {
    defaults: plenty,
    teams: Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`t${i}`, plenty])),
    models: { demo: plenty },
  },
  budgets: [
    { name: 'key', per: 'key', period: 'month', usd: 1e6, warnAt: [0.8, 1] },
    { name: 'all', per: 'all', period: 'month', usd: 1e6, warnAt: [0.8, 1] },
  ],
  prices: createPrices({ overrides: { 'up/*': { input: 1, output: 4 } } }),
  targetsOf: () => ['up/m'],
});

const text = 'The quick brown fox jumps over the lazy dog. '.repeat(25);
/** A chat of eight turns and some 1,100 characters each, different every time unless `same`. */
const requestOf = (n: number): ChatRequest => ({
  ...plainRequest(
    'demo',
    Array.from({ length: 8 }, (_, turn) => ({
      role: 'user' as const,
      content: [{ type: 'text' as const, text: turn === 7 ? `${text} ${n}` : text }],
    })),
  ),
  sampling: { temperature: 0 },
  maxTokens: 100,
});

function gateway(full: boolean) {
  const policy = full ? guarded : openPolicy(anonymous);
  const cache = full ? createResponseCache({ store: memoryStore(), digest }) : noCache;
  const rule = full ? { cache: { ttlMs: 60_000, scope: 'key' as const } } : {};
  const targets = [{ name: 'up/m', provider, model: 'm' }];
  const routing = createRouting([{ name: 'demo', filters: [], targets, ...rule }]);
  const built = createGateway({
    policy,
    prompts: noPrompts,
    routing,
    filters: noFilters,
    cache,
    record: createRecorder([]),
  });
  return async (request: ChatRequest, n: number): Promise<number> => {
    const startedMs = performance.now();
    const headers = { authorization: `Bearer ${keys[n % keys.length]?.secret}` };
    const caller = await policy.authenticate(headers);
    const signal = new AbortController().signal;
    const run = await built.stream(request, {
      requestId: `r${n}`,
      caller,
      signal,
      endpoint: '/v1/chat/completions',
      startedMs,
      headers,
    });
    const began = performance.now() - startedMs;
    for await (const _ of run.events);
    return began;
  };
}

async function measure(ask: (request: ChatRequest, n: number) => Promise<number>, request: (n: number) => ChatRequest) {
  const times: number[] = [];
  const startedMs = performance.now();
  for (let n = 0; n < requests + warmUp; n++) {
    const took = await ask(request(n), n);
    if (n >= warmUp) times.push(took);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => Number((times[Math.floor(times.length * share)] ?? 0).toFixed(4));
  return {
    p50: at(0.5),
    p99: at(0.99),
    wholeMs: Number(((performance.now() - startedMs) / (requests + warmUp)).toFixed(4)),
  };
}

const open = await measure(gateway(false), requestOf);
const miss = await measure(gateway(true), requestOf);
const hit = await measure(gateway(true), () => requestOf(0));
const added = { miss: Number((miss.p50 - open.p50).toFixed(4)), hit: Number((hit.p50 - open.p50).toFixed(4)) };
console.log(
  JSON.stringify(
    {
      what: 'milliseconds until an answer began, in process; key check, 9 limits, 2 budgets and cache look-up against none of them',
      conditions: {
        node: process.version,
        cpu: cpus()[0]?.model,
        cores: cpus().length,
        load: loadavg()[0]?.toFixed(1),
        requests,
        prompt: '8 turns of 1.1 kB, 100 keys, 7 teams',
      },
      open,
      miss,
      hit,
      added,
      goal: { addedP50: 0.15, reached: added.miss <= 0.15 },
    },
    null,
    2,
  ),
);
