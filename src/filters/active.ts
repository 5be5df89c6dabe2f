import type { CompletionEvent } from '../core/event.ts';
import type { ChatRequest } from '../core/request.ts';
import type { FilterConfig } from './config.ts';

/** A filter of a route, as one request meets it. */
export interface Active {
  readonly name: string;
  readonly config: FilterConfig;
}

/**
 * Another answer to the same request, changed where a filter says so, from another target where there is one.
 * `beginning`: it goes on from there, and what is given is the whole.
 */
export type Again = (
  change?: Partial<ChatRequest>,
  beginning?: string,
) => Promise<AsyncIterable<CompletionEvent> | undefined>;

/** Stands for an answer that is wanted instead of this one. */
export const retryWanted: CompletionEvent = { type: 'start' };
