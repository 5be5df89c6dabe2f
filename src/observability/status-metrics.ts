import type { EngineStatus, Status, TargetStatus } from '../core/status.ts';
import type { Meter, ScrapedSample } from './meter.ts';
import type { Quality } from './quality.ts';

const breakerValue = { closed: 0, 'half-open': 1, open: 2 } as const;
const slotStates = ['idle', 'prefill', 'decode', 'parked'] as const;

/** Gauges and counters that the engine, the targets, the budgets and the response cache keep themselves. */
export function observeStatus(meter: Meter, { engines, targets, budgets, responseCache }: Status): void {
  if (engines) observeEngines(meter, engines);
  if (targets) {
    const gauge = (name: string, help: string, value: (target: TargetStatus) => number) =>
      meter.scraped({
        name,
        help,
        labels: ['target'],
        kind: 'gauge',
        read: () => targets().map((target) => ({ labels: [target.target], value: value(target) })),
      });
    gauge('tidegate_target_breaker_state', '0 closed, 1 half-open, 2 open.', ({ breaker }) => breakerValue[breaker]);
    gauge('tidegate_target_requests_in_flight', 'Calls under way.', ({ inFlight }) => inFlight);
    gauge('tidegate_target_healthy', '1 while health checks and traffic succeed.', ({ healthy }) => Number(healthy));
  }
  if (budgets) {
    meter.scraped({
      name: 'tidegate_budget_used_ratio',
      help: 'Spent share of a budget in its period.',
      labels: ['owner'],
      kind: 'gauge',
      read: () =>
        budgets()
          .slice(0, 500)
          .map(({ owner, usedUsd, limitUsd }) => ({
            labels: [owner],
            value: limitUsd > 0 ? usedUsd / limitUsd : Number(usedUsd > 0),
          })),
    });
  }
  if (responseCache) {
    const single = (name: string, help: string, value: () => number) =>
      meter.scraped({ name, help, labels: [], kind: 'gauge', read: () => [{ labels: [], value: value() }] });
    single('tidegate_response_cache_entries', 'Answers kept.', () => responseCache().entries);
    single('tidegate_response_cache_bytes', 'Bytes kept.', () => responseCache().bytes);
  }
}

function observeEngines(meter: Meter, engines: () => readonly EngineStatus[]): void {
  const scraped = (
    kind: 'gauge' | 'counter',
    name: string,
    help: string,
    more: readonly string[],
    read: (engine: EngineStatus) => readonly (readonly [labels: readonly string[], value: number])[],
  ) =>
    meter.scraped({
      name: `tidegate_engine_${name}`,
      help,
      labels: ['model', ...more],
      kind,
      read: function* (): Generator<ScrapedSample> {
        for (const engine of engines()) {
          for (const [labels, value] of read(engine)) yield { labels: [engine.model, ...labels], value };
        }
      },
    });
  const gauge = (name: string, help: string, value: (engine: EngineStatus) => number) =>
    scraped('gauge', name, help, [], (engine) => [[[], value(engine)]]);
  const counter = (name: string, help: string, value: (engine: EngineStatus) => number | undefined) =>
    scraped('counter', `${name}_total`, help, [], (engine) => {
      const count = value(engine);
      return count === undefined ? [] : [[[], count]];
    });

  gauge('ready', '1 when the model is loaded and answers.', ({ state }) => Number(state === 'ready'));
  gauge('requests_waiting', 'Requests in the queue.', ({ waiting }) => waiting);
  gauge('requests_running', 'Requests in a slot.', ({ running }) => running);
  gauge('batch_width', 'Sequences in the last batch.', ({ batchWidth }) => batchWidth);
  gauge('prefill_tokens_per_second', 'Prompt tokens read, over the last seconds.', (e) => e.prefillTokensPerSecond);
  gauge('decode_tokens_per_second', 'Tokens generated, over the last seconds.', (e) => e.decodeTokensPerSecond);
  scraped('gauge', 'slots', 'Slots by what they do.', ['state'], ({ slots }) =>
    slotStates.map((state) => [[state], slots.filter((slot) => slot.state === state).length]),
  );
  scraped('gauge', 'kv_used_ratio', 'Used share of each KV tier.', ['tier'], ({ kv }) =>
    kv.map(({ tier, used, capacity }) => [[tier], capacity > 0 ? used / capacity : 0]),
  );
  counter('prompt_tokens', 'Prompt tokens asked for.', ({ counters }) => counters.promptTokens);
  counter('prefix_hit_tokens', 'Prompt tokens found in the KV cache.', ({ counters }) => counters.prefixHitTokens);
  counter('prefill_tokens', 'Prompt tokens evaluated.', ({ counters }) => counters.prefillTokens);
  counter('decode_tokens', 'Tokens generated.', ({ counters }) => counters.decodeTokens);
  counter('draft_tokens', 'Tokens proposed by speculation.', ({ counters }) => counters.draftedTokens);
  counter('draft_accepted_tokens', 'Proposed tokens that held.', ({ counters }) => counters.acceptedTokens);
  counter('preemptions', 'Requests parked for more urgent ones.', ({ counters }) => counters.preemptions);
  counter('restarts', 'Restarts of the engine child.', ({ counters }) => counters.restarts);
  counter('energy_joules', 'Energy as RAPL or NVML tells it.', ({ counters }) => counters.energyJoules);
}

/** Drift of each version's distributions, as far as there are enough observations. */
export function observeDrift(meter: Meter, quality: Quality): void {
  meter.scraped({
    name: 'tidegate_drift_score',
    help: 'Distance of the last answers from the first ones: psi from 0, js 0 to 1.',
    labels: ['model', 'target', 'signal', 'statistic'],
    kind: 'gauge',
    *read() {
      for (const { model, target, signals } of quality.report().versions) {
        for (const { name, psi, js } of signals) {
          if (psi !== null) yield { labels: [model, target, name, 'psi'], value: psi };
          if (js !== null) yield { labels: [model, target, name, 'js'], value: js };
        }
      }
    },
  });
}
