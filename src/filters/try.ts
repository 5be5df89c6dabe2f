import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import { type ChatRequest, plainRequest, textOf } from '../core/request.ts';
import type { Route } from '../core/route.ts';
import type { Decision, RequestContext } from '../core/run.ts';
import type { Filters } from './index.ts';

export interface Tried {
  readonly output: string;
  /** The refusal's words, where the text was blocked. */
  readonly blocked?: string;
  /** Most characters that were held back at once. */
  readonly heldMost: number;
  readonly decisions: readonly Decision[];
}

/** What a route's filters make of `text`: as a prompt, or as an answer that comes in one character at a time. */
export async function tryFilters(
  filters: Filters,
  route: Route,
  { text, side }: { readonly text: string; readonly side: 'input' | 'output' },
  context: RequestContext,
): Promise<Tried> {
  try {
    const filtered = await filters.apply(requestOf(side === 'input' ? text : '', route), route, context);
    if (side === 'input') {
      const output = filtered.request.messages.map(({ content }) => textOf(content)).join('\n');
      return { output, heldMost: 0, decisions: filtered.decisions?.() ?? [] };
    }
    let [given, output, heldMost] = [0, '', 0];
    let blocked: string | undefined;
    async function* characters(): AsyncGenerator<CompletionEvent> {
      for (const character of text) {
        yield { type: 'text-delta', choice: 0, text: character };
        given += character.length;
        heldMost = Math.max(heldMost, given - output.length);
      }
      yield { type: 'finish', choice: 0, reason: 'stop' };
    }
    for await (const event of filtered.output(characters())) {
      if (event.type === 'text-delta' || event.type === 'refusal-delta') output += event.text;
      if (event.type === 'finish' && event.reason === 'content-filter')
        blocked = event.detail ?? 'The answer was ended here.';
    }
    return { output, ...(blocked !== undefined && { blocked }), heldMost, decisions: filtered.decisions?.() ?? [] };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return { output: '', blocked: error.message, heldMost: 0, decisions: error.decisions };
  }
}

const requestOf = (text: string, { name }: Route): ChatRequest =>
  plainRequest(name, [{ role: 'user', content: [{ type: 'text', text }] }]);
