import { noCache } from '../../src/cache/through.ts';
import type { Clock } from '../../src/core/clock.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import type { RecordSink } from '../../src/core/record.ts';
import { anonymous } from '../../src/core/run.ts';
import { noFilters } from '../../src/filters/index.ts';
import { createGateway, type Gateway, type GatewayDeps } from '../../src/gateway.ts';
import { createRecorder, type RecorderOptions } from '../../src/observability/record.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { noPrompts } from '../../src/prompts/render.ts';
import { createRouting, type RoutedModel, rulesOf } from '../../src/routing/attempt.ts';

/** A clock that only moves when told to. */
export function steppedClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  return {
    now: () => nowMs,
    wall: () => 1_700_000_000_000 + nowMs,
    advance: (ms) => {
      nowMs += ms;
    },
  };
}

/** What a scripted provider does next: an event, a wait on the clock, or a failure. */
export type Step = CompletionEvent | { readonly waitMs: number } | Error;

export const answerOf = (...texts: readonly string[]): Step[] => [
  ...texts.map((text): CompletionEvent => ({ type: 'text-delta', choice: 0, text })),
  { type: 'finish', choice: 0, reason: 'stop' },
  { type: 'usage', usage: { promptTokens: 7, completionTokens: texts.length } },
];

export function scripted(name: string, steps: readonly Step[], clock?: { advance(ms: number): void }): Provider {
  return {
    name,
    capabilities: noCapabilities,
    async *stream() {
      for (const step of steps) {
        if (step instanceof Error) throw step;
        if ('waitMs' in step) clock?.advance(step.waitMs);
        else yield step;
      }
    },
  };
}

export interface TestGateway extends RecorderOptions {
  readonly sinks?: readonly RecordSink[];
  readonly clock?: Clock;
  readonly providers: readonly Provider[];
  readonly deps?: Partial<GatewayDeps>;
  /** Names of filters in `deps.filters` that the route has. */
  readonly filters?: readonly string[];
}

/** The real spine with scripted providers, all behind the one model `demo`. */
export function gatewayWith({ providers, sinks = [], clock, deps, filters = [], ...recorder }: TestGateway): Gateway {
  const targets = providers.map((provider) => ({ name: `${provider.name}/m`, provider, model: 'm' }));
  return createGateway({
    policy: openPolicy(anonymous),
    prompts: noPrompts,
    routing: createRouting([withoutRetries({ name: 'demo', filters, targets })], clock),
    filters: noFilters,
    cache: noCache,
    record: createRecorder(sinks, clock, recorder),
    ...deps,
  });
}

/** So that one failure is one attempt. */
const withoutRetries = (model: RoutedModel): RoutedModel => {
  const rules = rulesOf(model);
  return { ...model, rules: { ...rules, retry: { ...rules.retry, attempts: 0 } } };
};

export async function drain(events: AsyncIterable<CompletionEvent>): Promise<CompletionEvent[]> {
  const seen: CompletionEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}
