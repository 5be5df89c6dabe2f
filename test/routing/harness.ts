import type { CompletionEvent } from '../../src/core/event.ts';
import { type CallOptions, type Capabilities, noCapabilities, type Provider } from '../../src/core/provider.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import type { Target } from '../../src/core/route.ts';
import type { Run } from '../../src/core/run.ts';
import {
  createRouting,
  type RoutedModel,
  type RoutingControl,
  type RoutingOptions,
} from '../../src/routing/attempt.ts';
import {
  defaultRetry,
  defaultTakeover,
  defaultTimeouts,
  type RouteNode,
  type RouteRules,
} from '../../src/routing/model.ts';
import { ordered } from '../../src/routing/strategies/ordered.ts';
import { ask, contextOf } from '../request.ts';

/** What a scripted upstream does next: an event, silence, for so long or for ever, or a failure. */
export type Step = CompletionEvent | { readonly waitMs: number } | 'stall' | Error;

export const text = (value: string, choice = 0): CompletionEvent => ({ type: 'text-delta', choice, text: value });
export const finish = (choice = 0): CompletionEvent => ({ type: 'finish', choice, reason: 'stop' });
export const usage = (promptTokens: number, completionTokens: number): CompletionEvent => ({
  type: 'usage',
  usage: { promptTokens, completionTokens },
});
export const says = (...texts: readonly string[]): Step[] => [
  ...texts.map((value) => text(value)),
  finish(),
  usage(7, texts.length),
];

export interface Scripted extends Target {
  readonly requests: ChatRequest[];
  readonly calls: CallOptions[];
  /** How many of its calls were told to stop. */
  readonly aborted: () => number;
}

/** An upstream that answers as told: the n-th call plays the n-th script, the last one for ever. */
export function upstream(
  name: string,
  scripts: readonly (readonly Step[] | ((request: ChatRequest) => readonly Step[]))[],
  able: Partial<Capabilities> = {},
  more: Partial<Provider> = {},
): Scripted {
  const requests: ChatRequest[] = [];
  const calls: CallOptions[] = [];
  const provider: Provider = {
    name,
    capabilities: { ...noCapabilities, ...able },
    async *stream(request, options) {
      const script = scripts[Math.min(requests.length, scripts.length - 1)] ?? [];
      requests.push(request);
      calls.push(options);
      for (const step of typeof script === 'function' ? script(request) : script) {
        if (step instanceof Error) throw step;
        if (step === 'stall') await silence(undefined, options.signal);
        else if ('waitMs' in step) await silence(step.waitMs, options.signal);
        else yield step;
      }
    },
    ...more,
  };
  const aborted = () => calls.filter(({ signal }) => signal.aborted).length;
  return { name: `${name}/m`, provider, model: 'm', requests, calls, aborted };
}

function silence(ms: number | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    if (ms !== undefined) setTimeout(resolve, ms);
  });
}

export const leaf = (target: Target, more: object = {}): RouteNode => ({ kind: 'leaf', target, weight: 1, ...more });

export const rules = (targets: readonly Target[], change: Partial<RouteRules> = {}): RouteRules => ({
  tree: { kind: 'group', name: '', weight: 1, strategy: ordered, children: targets.map((target) => leaf(target)) },
  overflow: [],
  fallback: [],
  timeouts: defaultTimeouts,
  retry: { ...defaultRetry, baseMs: 1, maxMs: 2 },
  takeover: defaultTakeover,
  place: [],
  ...change,
});

export const routeOf = (targets: readonly Target[], change: Partial<RouteRules> = {}): RoutedModel => ({
  name: 'demo',
  filters: [],
  targets,
  rules: rules(targets, change),
});

export const routingOf = (
  targets: readonly Target[],
  change: Partial<RouteRules> = {},
  options: RoutingOptions = {},
): RoutingControl => createRouting([routeOf(targets, change)], undefined, options);

export const send = (routing: RoutingControl, change: Partial<ChatRequest> = {}, context = contextOf()): Promise<Run> =>
  routing.attempt(routing.find('demo'), ask(change), context);

/** All events of a run, and how it broke. */
export async function drink(run: Run): Promise<{ events: CompletionEvent[]; error: unknown }> {
  const events: CompletionEvent[] = [];
  try {
    for await (const event of run.events) events.push(event);
    return { events, error: undefined };
  } catch (error) {
    return { events, error };
  }
}

export const textsOf = (events: readonly CompletionEvent[], choice = 0): string =>
  events.map((event) => (event.type === 'text-delta' && event.choice === choice ? event.text : '')).join('');
