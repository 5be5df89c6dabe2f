import { isJsonObject } from '../core/json.ts';
import type { ChatRequest } from '../core/request.ts';
import type { CacheRule } from '../core/route.ts';
import type { Caller } from '../core/run.ts';
import { ownCredentials } from '../core/trace.ts';

/** What changes how an answer is delivered, booked or scheduled, but not what it says. All else is part of the key. */
const delivery = new Set<string>([
  'model', // the route's name stands for it
  'stream',
  'priority',
  'promptCacheKey',
  'user',
  'metadata',
  'serviceTier',
  'store',
  'promptTemplate', // rendered by now
  'labels', // decide where it goes
  'dialect',
  'wire',
  'answer', // how it is written: the usage chunk, echoed settings
  'extensions',
] satisfies (keyof ChatRequest)[]);
const deliveryExtensions = new Set(['stream_options', 'safety_identifier', 'prompt_cache_retention', 'service_tier']);

/** A request as one text, equal for equal requests: sorted keys, without what only concerns delivery. */
export function canonicalRequest(request: ChatRequest): string {
  const parts: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(request)) if (!delivery.has(name)) parts[name] = value;
  const extensions = Object.entries(request.extensions).filter(([name]) => !deliveryExtensions.has(name));
  // The same unknown field may mean different things in different dialects.
  if (extensions.length > 0) parts['extensions'] = { [request.dialect]: Object.fromEntries(extensions) };
  return canonicalJson(parts);
}

/** Built by our own decoders, always in one order; and the order of a schema's properties changes what a model writes. */
const inOrder = new Set<string>(['messages', 'tools', 'responseFormat'] satisfies (keyof ChatRequest)[]);

/** JSON with the fields of every object in order of their names, but for what has its order from us or gives it a meaning. */
export function canonicalJson(request: object): string {
  return JSON.stringify(
    Object.fromEntries(entries(request).map(([name, field]) => [name, inOrder.has(name) ? field : sorted(field)])),
  );
}

const entries = (value: object): [string, unknown][] => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(entries(value).map(([name, field]) => [name, sorted(field)]));
}

/** What tells apart requests that bring an upstream account of their own: its answers are for whoever pays it. */
export const ownUpstream = (headers: Readonly<Record<string, string>>): string =>
  ownCredentials.map((name) => (headers[name] === undefined ? '' : ` ${name}=${headers[name]}`)).join('');

/** Who shares answers: part of every key, so that no store can mix callers up. */
export function scopeOf({ scope }: CacheRule, caller: Caller): string {
  switch (scope) {
    case 'key':
      return holder(caller);
    case 'team':
      return caller.team === undefined ? holder(caller) : `team:${JSON.stringify(caller.team)}`;
    case 'global':
      return 'global';
    default:
      return scope satisfies never;
  }
}

/** The tenant too: a gateway at the edge asks with one id for callers that it alone tells apart. */
const holder = ({ id, tenant }: Caller): string => `key:${JSON.stringify([id, tenant])}`;
