import { isJsonObject } from '../core/json.ts';
import type { ChatRequest } from '../core/request.ts';
import type { CacheRule } from '../core/route.ts';
import type { Caller } from '../core/run.ts';

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
  'extensions',
] satisfies (keyof ChatRequest)[]);
const deliveryExtensions = new Set(['stream_options', 'safety_identifier', 'prompt_cache_retention']);

/** A request as one text, equal for equal requests: sorted keys, without what only concerns delivery. */
export function canonicalRequest(request: ChatRequest): string {
  const parts: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(request)) if (!delivery.has(name)) parts[name] = value;
  const extensions = Object.entries(request.extensions).filter(([name]) => !deliveryExtensions.has(name));
  // The same unknown field may mean different things in different dialects.
  if (extensions.length > 0) parts['extensions'] = { [request.dialect]: Object.fromEntries(extensions) };
  return canonicalJson(parts);
}

/**
 * JSON with the fields of `value`, and of the objects directly in it, in order of their names. Not deeper: messages are
 * built by our own decoders, and the order of a schema's properties changes what a model writes.
 */
export function canonicalJson(value: object): string {
  const inner = ([name, field]: [string, unknown]): [string, unknown] => [
    name,
    isJsonObject(field) ? sorted(field) : field,
  ];
  return JSON.stringify(Object.fromEntries(Object.entries(sorted(value)).map(inner)));
}

const sorted = (value: object): object =>
  Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Who shares answers: part of every key, so that no store can mix callers up. */
export function scopeOf({ scope }: CacheRule, caller: Caller): string {
  switch (scope) {
    case 'key':
      return `key:${caller.id}`;
    case 'team':
      return caller.team === undefined ? `key:${caller.id}` : `team:${caller.team}`;
    case 'global':
      return 'global';
    default:
      return scope satisfies never;
  }
}
