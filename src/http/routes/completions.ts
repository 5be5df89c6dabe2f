import { anySignal, createAborter } from '../../core/abort.ts';
import { nowSeconds, randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { CompletionEvent, Usage } from '../../core/event.ts';
import type { ChatRequest } from '../../core/request.ts';
import type { RequestContext } from '../../core/run.ts';
import { collect } from '../../core/streams.ts';
import { sumUsage } from '../../core/usage.ts';
import { decodeCompletionRequests, encodeCompletion, openaiCompletions } from '../../wire/openai/completions.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';
import { answer, resumable } from '../generation.ts';

/** Legacy completions: one prompt goes the way of every generation, several are answered side by side. */
export function completions(deps: HttpDeps): (c: AppContext) => Promise<Response> {
  return resumable(deps, openaiCompletions.encodeError, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const requests = decodeCompletionRequests(parseJsonObject(bytes), { bytes, headers: headersOf(c) });
    const [first] = requests;
    if (!first) return; // the schema wants at least one prompt
    const best = first.choices > Number(first.answer?.['n'] ?? 1);
    if (requests.length === 1 && !best) {
      await answer(deps, openaiCompletions, first, exchange);
      return;
    }
    if (first.stream) {
      await answer(together(deps, requests), openaiCompletions, first, exchange);
      return;
    }
    const { runs, answers } = await allOf(deps, requests, exchange.context);
    const { id, createdAt } = runs[0]?.given ?? { id: randomId(''), createdAt: nowSeconds() };
    const meta = { id, request: first, createdAt };
    exchange.json(encodeCompletion(answers, meta), 200, { 'x-tidegate-target': runs[0]?.target ?? '' });
  });
}

/** Begins them side by side and gathers their answers. Where one fails the others are ended: nobody would pull them. */
async function allOf({ gateway }: HttpDeps, requests: readonly ChatRequest[], context: RequestContext) {
  const failed = createAborter();
  const signal = anySignal([context.signal, failed.signal]);
  const begun = requests.map((request, index) => gateway.stream(request, { ...partOf(context, index), signal }));
  try {
    const runs = await Promise.all(begun);
    return { runs, answers: await Promise.all(runs.map((run) => collect(run.events))) };
  } catch (error) {
    failed.abort(new GatewayError('cancelled', 'Another prompt of the request failed.', { cause: error }));
    for (const each of await Promise.allSettled(begun)) {
      if (each.status === 'fulfilled') await each.value.events[Symbol.asyncIterator]().return?.();
    }
    throw error;
  }
}

/** Each prompt is a request of its own to an Idempotency-Key. */
function partOf(context: RequestContext, index: number): RequestContext {
  const key = context.headers['idempotency-key'];
  return key ? { ...context, headers: { ...context.headers, 'idempotency-key': `${key} ${index}` } } : context;
}

/** A gateway whose one stream is that of all prompts, one after the other, their choices renumbered. */
function together(deps: HttpDeps, requests: readonly ChatRequest[]): HttpDeps {
  return {
    ...deps,
    gateway: {
      ...deps.gateway,
      async stream(first, context) {
        const run = await deps.gateway.stream(first, context);
        return { ...run, events: renumbered(run.events) };
        async function* renumbered(events: AsyncIterable<CompletionEvent>): AsyncGenerator<CompletionEvent> {
          const usages: Usage[] = [];
          for (const [index, request] of requests.entries()) {
            const part = index === 0 ? events : (await deps.gateway.stream(request, partOf(context, index))).events;
            for await (const event of part) {
              if (event.type === 'usage') usages.push(event.usage);
              else if ('choice' in event) yield { ...event, choice: index * request.choices + event.choice };
            }
          }
          if (usages.length > 0) yield { type: 'usage', usage: sumUsage(usages) };
        }
      },
    },
  };
}
