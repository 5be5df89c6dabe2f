import type { CompletionEvent } from '../../src/core/event.ts';
import { type ChatRequest, plainRequest } from '../../src/core/request.ts';
import type { Route } from '../../src/core/route.ts';
import type { RequestContext } from '../../src/core/run.ts';
import { collect } from '../../src/core/streams.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { type Again, createFilters, type FilterParts } from '../../src/filters/index.ts';
import { compileWithoutCode } from '../../src/filters/json-schema.ts';
import { contextOf } from '../request.ts';

export const user = (text: string): ChatRequest =>
  plainRequest('m', [{ role: 'user', content: [{ type: 'text', text }] }]);

export async function* events(items: readonly CompletionEvent[]): AsyncGenerator<CompletionEvent> {
  for (const item of items) {
    await Promise.resolve();
    yield item;
  }
}
export const said = (...pieces: readonly string[]): CompletionEvent[] =>
  pieces.map((text) => ({ type: 'text-delta', choice: 0, text }));
export const finish: CompletionEvent = { type: 'finish', choice: 0, reason: 'stop' };

/** The filters of a configuration as YAML would give it, on one route that names them all. */
export const filtersOf = (config: Record<string, unknown>, parts: FilterParts = {}) => {
  const filters = createFilters(filtersSchema().parse(config), { compileSchema: compileWithoutCode, ...parts });
  const route: Route = { name: 'm', filters: Object.keys(config) };
  return {
    apply: (request: ChatRequest, more: Partial<RequestContext> = {}) => filters.apply(request, route, contextOf(more)),
    async answer(items: readonly CompletionEvent[], request: ChatRequest = user('hello'), again?: Again) {
      const filtered = await filters.apply(request, route, contextOf());
      const seen: CompletionEvent[] = [];
      for await (const event of filtered.output(events(items), again)) seen.push(event);
      const whole = await collect(events(seen));
      return {
        request: filtered.request,
        seen,
        choice: whole.choices[0],
        whole,
        decisions: filtered.decisions?.() ?? [],
      };
    },
  };
};
