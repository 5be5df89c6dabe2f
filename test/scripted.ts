import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent } from '../src/core/event.ts';
import { noCapabilities, type Provider } from '../src/core/provider.ts';
import type { ChatRequest } from '../src/core/request.ts';
import { abortError } from '../src/core/signals.ts';

/** One step of a script: text, an event, an error to throw, or milliseconds to wait. */
export type Step = string | CompletionEvent | GatewayError | number;

export interface ScriptedProvider extends Provider {
  /** The requests it got, in order. */
  readonly requests: readonly ChatRequest[];
  /** How many of its streams were aborted. */
  readonly aborted: number;
}

/** A small real provider that says what it is told; `finish: stop` and usage follow unless the script has its own. */
export function scripted(
  steps: readonly Step[],
  {
    name = 'scripted',
    capabilities = {},
  }: Partial<Pick<Provider, 'name'>> & { capabilities?: Partial<Provider['capabilities']> } = {},
): ScriptedProvider {
  const requests: ChatRequest[] = [];
  let aborted = 0;
  return {
    name,
    requests,
    get aborted() {
      return aborted;
    },
    capabilities: {
      ...noCapabilities,
      tools: true,
      jsonSchema: true,
      prefill: true,
      logprobs: true,
      choices: true,
      ...capabilities,
    },
    async *stream(request, { signal }) {
      requests.push(request);
      signal.addEventListener('abort', () => aborted++, { once: true });
      let [finished, counted, tokens] = [false, false, 0];
      for (const step of steps) {
        if (signal.aborted) throw abortError(signal);
        if (step instanceof GatewayError) throw step;
        if (typeof step === 'number') {
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, step);
            signal.addEventListener(
              'abort',
              () => {
                clearTimeout(timer);
                resolve();
              },
              { once: true },
            );
          });
          if (signal.aborted) throw abortError(signal);
        } else if (typeof step === 'string') {
          tokens++;
          yield { type: 'text-delta', choice: 0, text: step };
        } else {
          finished ||= step.type === 'finish';
          counted ||= step.type === 'usage';
          yield step;
        }
      }
      if (!finished) yield { type: 'finish', choice: 0, reason: 'stop' };
      if (!counted) yield { type: 'usage', usage: { promptTokens: 3, completionTokens: tokens } };
    },
  };
}
