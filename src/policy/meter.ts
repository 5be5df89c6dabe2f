import type { CompletionEvent, Usage } from '../core/event.ts';
import type { CacheStatus } from '../core/run.ts';
import type { ReadyIterator } from '../core/streams.ts';
import { estimateTextTokens } from './estimate.ts';
import type { Reserved } from './reserve.ts';

export interface MeterOptions {
  readonly reserved: Reserved;
  readonly target: string;
  readonly cache: CacheStatus;
  /** Asked only when the target did not tell. */
  readonly promptTokens: () => number;
  readonly choices: number;
  /** The client set the bound itself, and all of it is reserved: nothing to cut. */
  readonly bounded: boolean;
  /** Completion tokens to pay for at a time. */
  readonly stepTokens: number;
}

/** An answer under measurement. */
export interface Meter {
  readonly events: AsyncIterable<CompletionEvent>;
  /** What was used: as the target told it, else as counted here; undefined before anything came. */
  used(): Usage | undefined;
  /** Settles now, as used so far. For whoever will never pull. */
  close(): void;
}

/** Counts an answer on its way, ends it where the budget ends, and settles when it is over, whichever way. */
export function createMeter(source: AsyncIterable<CompletionEvent>, options: MeterOptions): Meter {
  const { reserved, target, cache, promptTokens, choices, bounded, stepTokens } = options;
  const stored = cache === 'hit' || cache === 'stale' || cache === 'coalesced';
  const finished = new Set<number>();
  let counted = 0;
  let events = 0;
  let told: Usage | undefined;
  let closed = false;

  const counts = (): Usage => ({ promptTokens: promptTokens(), completionTokens: counted, estimated: true });
  const used = (): Usage | undefined => told ?? (events > 0 ? counts() : undefined);
  const close = () => {
    if (closed) return;
    closed = true;
    const usage = used();
    // A stored answer cost nobody anything but the one who first asked.
    reserved.settle(usage && !stored ? { target, usage } : undefined);
  };

  const see = (event: CompletionEvent): void => {
    events++;
    switch (event.type) {
      case 'text-delta':
        counted += event.logprobs?.length ?? Math.max(1, estimateTextTokens(event.text));
        return;
      case 'reasoning-delta':
      case 'refusal-delta':
        counted += Math.max(1, estimateTextTokens(event.text));
        return;
      case 'tool-call-delta':
        counted += Math.max(1, estimateTextTokens(event.arguments));
        return;
      case 'wire':
        counted += Math.ceil(event.bytes.length / 250); // one chunk of one token is some 250 bytes
        return;
      case 'finish':
        finished.add(event.choice);
        return;
      case 'usage':
        told = event.usage;
        return;
      default:
    }
  };

  /** Nobody pays for more than so many tokens: more must be asked for on the way, or the answer is cut. */
  const mayCut = !bounded && !stored && Number.isFinite(reserved.paidTokens());
  const iterable: AsyncIterable<CompletionEvent> = {
    [Symbol.asyncIterator](): ReadyIterator<CompletionEvent> {
      const iterator: ReadyIterator<CompletionEvent> = source[Symbol.asyncIterator]();
      let ending: CompletionEvent[] | undefined;
      const onResult = <T extends IteratorResult<CompletionEvent>>(result: T): T => {
        if (result.done) close();
        else see(result.value);
        return result;
      };
      const onError = (error: unknown) => {
        close();
        throw error;
      };
      const payFor = async (result: IteratorResult<CompletionEvent>) => {
        if (!result.done && counted >= reserved.paidTokens() && finished.size < choices) {
          if (!(await reserved.extend(stepTokens)) && !(await reserved.extend(1))) {
            ending = cut();
            await iterator.return?.();
          }
        }
        return result;
      };
      return {
        next() {
          if (ending) {
            const value = ending.shift();
            if (!value) close();
            return Promise.resolve(value ? { done: false, value } : { done: true, value: undefined });
          }
          const pulled = iterator.next().then(onResult, onError);
          return mayCut ? pulled.then(payFor) : pulled;
        },
        ready() {
          if (mayCut) return undefined;
          let result: IteratorResult<CompletionEvent, undefined> | undefined;
          try {
            result = iterator.ready?.();
          } catch (error) {
            onError(error);
          }
          return result && onResult(result);
        },
        async return(value?: unknown) {
          close();
          await iterator.return?.(value);
          return { done: true, value: undefined };
        },
      };
    },
  };

  /** The end of an answer that nobody pays for any more: every open choice finishes, and the usage is what was counted. */
  const cut = (): CompletionEvent[] => {
    const rest: CompletionEvent[] = [];
    for (let choice = 0; choice < choices; choice++) {
      if (!finished.has(choice)) {
        rest.push({ type: 'finish', choice, reason: 'length', detail: 'The budget of this key is spent.' });
      }
    }
    told ??= counts();
    rest.push({ type: 'usage', usage: told });
    return rest;
  };

  return { events: iterable, used, close };
}
