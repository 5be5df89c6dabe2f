import { GatewayError } from '../../src/core/errors.ts';
import { noCapabilities } from '../../src/core/provider.ts';
import { plainRequest } from '../../src/core/request.ts';
import { anonymous, type RequestContext } from '../../src/core/run.ts';
import { blame } from '../../src/routing/call.ts';
import type { Facts } from '../../src/routing/facts.ts';
import { defaultRetry, defaultTakeover, defaultTimeouts, type Leaf, type RouteRules } from '../../src/routing/model.ts';
import { planFor } from '../../src/routing/plan.ts';
import { createTargetStates, unavailable } from '../../src/routing/state.ts';
import type { Strategy } from '../../src/routing/strategies/strategy.ts';
import { quantile } from '../shared/quantiles.ts';
import { createReplica, type Job, type ReplicaOptions, type Trouble } from './cluster.ts';
import { seeded, type Turn } from './load.ts';

export interface SimulationOptions {
  readonly strategy: Strategy;
  readonly replicas: number;
  readonly replica: ReplicaOptions;
  readonly load: readonly Turn[];
  readonly troubles: readonly Trouble[];
  readonly seed: number;
  /** A first token later than this is no use to anybody. */
  readonly objectiveMs: number;
}

export interface Figures {
  readonly requests: number;
  /** Share of the requests that were answered, their first token within the objective. */
  readonly goodput: number;
  readonly failed: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  /** Prompt tokens that a replica had in its KV cache. */
  readonly prefixHitShare: number;
  /** The busiest replica's work in flight over the mean, averaged over time. */
  readonly imbalance: number;
  /** Calls of replicas per request. */
  readonly amplification: number;
}

const firstTokenMs = 10_000;

/**
 * Plays a load against simulated replicas in virtual time. Plans, target states, breakers and retry budgets are the code
 * that serves; only the replicas and the clock are made up.
 */
export function simulate(options: SimulationOptions): Figures {
  const { strategy, replicas: count, load, troubles } = options;
  const random = seeded(options.seed);
  const states = createTargetStates();
  const queue = createEvents();
  const troubleAt = (replica: number, now: number) =>
    troubles.find((each) => each.replica === replica && each.fromMs <= now && now < each.untilMs)?.kind;
  const replicas = Array.from({ length: count }, (_, i) =>
    createReplica(options.replica, (now) => (troubleAt(i, now) === 'slow' ? 3 : 1), queue.at),
  );
  for (const { replica, untilMs, kind } of troubles) {
    if (kind !== 'slow') queue.at(untilMs, () => replicas[replica]?.forget());
  }
  const leaves = replicas.map((_, i) => leafOf(i));
  const indexOf = new Map(leaves.map((leaf, i) => [leaf.target.name, i]));
  const rules: RouteRules = {
    tree: { kind: 'group', name: 'cluster', weight: 1, strategy, children: leaves },
    overflow: [],
    fallback: [],
    timeouts: defaultTimeouts,
    retry: defaultRetry,
    takeover: defaultTakeover,
    place: [],
  };

  const ttfts: number[] = [];
  let good = 0;
  let failed = 0;
  let calls = 0;
  let cachedTokens = 0;
  let promptTokens = 0;

  const serve = (turn: Turn, arrived: number) => {
    const facts = factsOf(turn);
    states.fallbacks('demo').deposit();
    const plan = planFor(rules, facts, { states, now: arrived, random });
    const order = plan.targets.map(({ leaf }) => leaf);
    const tryNext = (position: number, now: number): void => {
      const leaf = order[position];
      if (!leaf) {
        failed += 1;
        return;
      }
      const state = states.of(leaf.target.name);
      if (unavailable(state, now) || !state.breaker.take(now)) {
        tryNext(position + 1, now);
        return;
      }
      const index = indexOf.get(leaf.target.name) ?? 0;
      calls += 1;
      state.inFlight += 1;
      state.inFlightTokens += facts.promptTokens + facts.outputTokens;
      let open = true;
      let begun = false;
      const close = () => {
        if (!open) return false;
        open = false;
        state.inFlight -= 1;
        state.inFlightTokens -= facts.promptTokens + facts.outputTokens;
        return true;
      };
      const fail = (kind: 'upstream_unreachable' | 'timeout', at: number) => {
        if (!close()) return;
        blame(state, new GatewayError(kind, kind), false, at);
        if (states.fallbacks('demo').withdraw()) tryNext(position + 1, at);
        else failed += 1;
      };
      const trouble = troubleAt(index, now);
      if (trouble === 'refuses') {
        queue.at(now + 2, (at) => fail('upstream_unreachable', at));
        return;
      }
      const job: Job = {
        turn,
        begun(at, cached) {
          if (!open) return;
          begun = true;
          state.breaker.success(at);
          state.latency.observe(at - now, at);
          state.retries.deposit();
          ttfts.push(at - arrived);
          if (at - arrived <= options.objectiveMs) good += 1;
          cachedTokens += cached;
          promptTokens += turn.promptTokens;
        },
        ended: () => void close(),
      };
      if (trouble !== 'hangs') replicas[index]?.submit(job, now);
      queue.at(now + firstTokenMs, (at) => {
        if (begun) return;
        replicas[index]?.cancel(job);
        fail('timeout', at);
      });
    };
    tryNext(0, arrived);
  };

  for (const turn of load) queue.at(turn.atMs, (now) => serve(turn, now));
  const imbalances: number[] = [];
  const endMs = load.at(-1)?.atMs ?? 0;
  for (let at = 1000; at < endMs; at += 1000) {
    queue.at(at, () => {
      const inFlight = leaves.map((leaf) => states.of(leaf.target.name).inFlightTokens);
      const mean = inFlight.reduce((sum, tokens) => sum + tokens, 0) / count;
      if (mean > 0) imbalances.push(Math.max(...inFlight) / mean);
    });
  }
  queue.run();

  return {
    requests: load.length,
    goodput: good / load.length,
    failed,
    ttftP50Ms: quantile(ttfts, 0.5),
    ttftP99Ms: quantile(ttfts, 0.99),
    prefixHitShare: cachedTokens / Math.max(1, promptTokens),
    imbalance: imbalances.reduce((sum, value) => sum + value, 0) / Math.max(1, imbalances.length),
    amplification: calls / load.length,
  };
}

function leafOf(index: number): Leaf {
  const name = `replica-${index}`;
  const provider = { name, capabilities: noCapabilities, async *stream() {} };
  return { kind: 'leaf', target: { name, provider, model: 'm' }, weight: 1 };
}

const context: RequestContext = {
  requestId: '',
  caller: anonymous,
  signal: new AbortController().signal,
  endpoint: '',
  startedMs: 0,
  headers: {},
};
const request = plainRequest('m');

/** What the router may know: the prompt's size and beginning, not how long the answer will be. */
const factsOf = ({ promptTokens, app, conversation }: Turn): Facts => ({
  request,
  context,
  promptTokens,
  outputTokens: 256,
  sticky: () => `c${conversation}`,
  prefix: `system prompt of app ${app}; first message of conversation ${conversation}`,
  language: 'und',
  label: '',
});

/** A heap of things to do, earliest first; equal times in the order they were asked for. */
function createEvents() {
  const heap: { at: number; order: number; run: (now: number) => void }[] = [];
  let order = 0;
  const before = (i: number, j: number) => {
    const [a, b] = [heap[i], heap[j]];
    return a !== undefined && b !== undefined && (a.at < b.at || (a.at === b.at && a.order < b.order));
  };
  const swap = (i: number, j: number) => {
    const [a, b] = [heap[i], heap[j]];
    if (a && b) [heap[i], heap[j]] = [b, a];
  };
  const at = (time: number, run: (now: number) => void) => {
    heap.push({ at: time, order: order++, run });
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!before(i, parent)) break;
      swap(i, parent);
      i = parent;
    }
  };
  return {
    at,
    run() {
      for (let first = heap[0]; first; first = heap[0]) {
        const last = heap.pop();
        if (last && last !== first) {
          heap[0] = last;
          for (let i = 0; ; ) {
            const least = [2 * i + 1, 2 * i + 2].reduce((best, child) => (before(child, best) ? child : best), i);
            if (least === i) break;
            swap(i, least);
            i = least;
          }
        }
        first.run(first.at);
      }
    },
  };
}
