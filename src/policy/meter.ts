import type { CompletionEvent, Usage } from '../core/event.ts';
import { separated } from '../core/pieces.ts';
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
  /** The same, as a listener. */
  handleEvent(): void;
}

/** Counts an answer on its way, ends it where the budget ends, and settles when it is over, whichever way. */
export const createMeter = (source: AsyncIterable<CompletionEvent>, options: MeterOptions): Meter =>
  new AnswerMeter(source, options);

/** A class, its own iterator: every answer passes one, and closures for all of this would be made anew each time. */
class AnswerMeter implements Meter, AsyncIterable<CompletionEvent>, ReadyIterator<CompletionEvent> {
  readonly #source: AsyncIterable<CompletionEvent>;
  readonly #options: MeterOptions;
  /** Nobody pays for more than so many tokens: more must be asked for on the way, or the answer is cut. */
  readonly #mayCut: boolean;
  readonly #isStored: boolean;
  #iterator: ReadyIterator<CompletionEvent> | undefined;
  #finished: Set<number> | undefined;
  #counted = 0;
  #seen = 0;
  #told: Usage | undefined;
  #isClosed = false;
  #ending: CompletionEvent[] | undefined;

  constructor(source: AsyncIterable<CompletionEvent>, options: MeterOptions) {
    const { cache, bounded, reserved } = options;
    this.#source = source;
    this.#options = options;
    this.#isStored = cache === 'hit' || cache === 'stale' || cache === 'coalesced';
    this.#mayCut = !bounded && !this.#isStored && Number.isFinite(reserved.paidTokens());
  }

  get events(): AsyncIterable<CompletionEvent> {
    return this;
  }

  [Symbol.asyncIterator](): this {
    this.#open();
    return this;
  }

  #open(): ReadyIterator<CompletionEvent> {
    // It is cut after a delta, not after a read.
    this.#iterator ??= (this.#mayCut ? separated(this.#source) : this.#source)[Symbol.asyncIterator]();
    return this.#iterator;
  }

  used(): Usage | undefined {
    return this.#told ?? (this.#seen > 0 ? this.#counts() : undefined);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { reserved, target } = this.#options;
    if (reserved.free) return;
    const usage = this.used();
    // A stored answer cost nobody anything but the one who first asked.
    reserved.settle(usage && !this.#isStored ? { target, usage } : undefined);
  }

  /** The client has left. */
  handleEvent(): void {
    this.close();
  }

  next(): Promise<IteratorResult<CompletionEvent>> {
    if (this.#ending) {
      const value = this.#ending.shift();
      if (!value) this.close();
      return Promise.resolve(value ? { done: false, value } : { done: true, value: undefined });
    }
    return this.#pull();
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    if (this.#mayCut) return undefined;
    let result: IteratorResult<CompletionEvent, undefined> | undefined;
    try {
      result = this.#iterator?.ready?.();
    } catch (error) {
      this.close();
      throw error;
    }
    if (result) this.#see(result);
    return result;
  }

  wait(): Promise<void> | undefined {
    return this.#mayCut ? undefined : this.#iterator?.wait?.();
  }

  async return(value?: unknown): Promise<IteratorResult<CompletionEvent>> {
    this.close();
    await this.#iterator?.return?.(value);
    return { done: true, value: undefined };
  }

  async #pull(): Promise<IteratorResult<CompletionEvent>> {
    const iterator = this.#open();
    let result: IteratorResult<CompletionEvent>;
    try {
      result = await iterator.next();
    } catch (error) {
      this.close();
      throw error;
    }
    this.#see(result);
    if (this.#mayCut && !result.done) await this.#pay(iterator);
    return result;
  }

  async #pay(iterator: AsyncIterator<CompletionEvent>): Promise<void> {
    const { reserved, choices, stepTokens } = this.#options;
    if (this.#counted < reserved.paidTokens() || (this.#finished?.size ?? 0) >= choices) return;
    if ((await reserved.extend(stepTokens)) || (await reserved.extend(1))) return;
    this.#ending = this.#cut();
    await iterator.return?.();
  }

  #see(result: IteratorResult<CompletionEvent>): void {
    if (result.done) {
      this.close();
      return;
    }
    const event = result.value;
    this.#seen++;
    switch (event.type) {
      case 'text-delta':
        this.#counted += event.logprobs?.length ?? Math.max(event.pieces?.length ?? 1, estimateTextTokens(event.text));
        return;
      case 'reasoning-delta':
      case 'refusal-delta':
        this.#counted += Math.max(1, estimateTextTokens(event.text));
        return;
      case 'tool-call-delta':
        this.#counted += Math.max(1, estimateTextTokens(event.arguments));
        return;
      case 'wire':
        this.#counted += Math.ceil(event.bytes.length / 250); // one chunk of one token is some 250 bytes
        return;
      case 'finish':
        if (!this.#mayCut) return; // nobody asks
        this.#finished ??= new Set();
        this.#finished.add(event.choice);
        return;
      case 'usage':
        this.#told = event.usage;
        return;
      default:
    }
  }

  #counts(): Usage {
    return { promptTokens: this.#options.promptTokens(), completionTokens: this.#counted, estimated: true };
  }

  /** The end of an answer that nobody pays for any more: every open choice finishes, and the usage is what was counted. */
  #cut(): CompletionEvent[] {
    const rest: CompletionEvent[] = [];
    for (let choice = 0; choice < this.#options.choices; choice++) {
      if (!this.#finished?.has(choice)) {
        rest.push({ type: 'finish', choice, reason: 'length', detail: 'The budget of this key is spent.' });
      }
    }
    this.#told ??= this.#counts();
    rest.push({ type: 'usage', usage: this.#told });
    return rest;
  }
}
