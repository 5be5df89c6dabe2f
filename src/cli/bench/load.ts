import { sleep } from '../../core/signals.ts';
import type { Sample } from './sample.ts';

/**
 * How requests come. Closed loop: `concurrency` callers, each asking again as soon as it has its answer. Open loop:
 * `rate` requests per second at random moments (Poisson), however long answers take.
 */
export interface LoadPlan {
  readonly concurrency: number;
  readonly rate?: number | undefined;
  /** Ends after so many requests, or at the time limit, whichever is first; running ones are waited for. */
  readonly requests: number;
  readonly durationMs?: number | undefined;
}

export interface LoadRun {
  readonly samples: readonly Sample[];
  readonly wallMs: number;
  readonly mostInFlight: number;
}

export interface LoadOptions {
  /** Asks once; never throws. */
  readonly send: (index: number, signal: AbortSignal) => Promise<Sample>;
  /** Stops handing out requests and aborts the running ones; what is done so far counts. */
  readonly signal: AbortSignal;
  readonly onSample?: (sample: Sample, done: number) => void;
  readonly now?: () => number;
  readonly random?: () => number;
}

/** Sends requests as the plan says until its end, or until the signal aborts; a request that fails is a sample too. */
export async function runLoad(plan: LoadPlan, options: LoadOptions): Promise<LoadRun> {
  const { send, signal, onSample, now = () => performance.now(), random = Math.random } = options;
  const samples: Sample[] = [];
  const startedMs = now();
  let issued = 0;
  let inFlight = 0;
  let mostInFlight = 0;
  const open = () =>
    !signal.aborted && issued < plan.requests && (plan.durationMs === undefined || now() - startedMs < plan.durationMs);

  const ask = async (): Promise<void> => {
    const index = issued++;
    inFlight++;
    mostInFlight = Math.max(mostInFlight, inFlight);
    const sample = await send(index, signal);
    inFlight--;
    if (signal.aborted && sample.error !== undefined) return; // cut by us: says nothing about the server
    samples.push(sample);
    onSample?.(sample, samples.length);
  };

  if (plan.rate === undefined) {
    const callers = Array.from({ length: Math.min(plan.concurrency, plan.requests) }, async () => {
      while (open()) await ask();
    });
    await Promise.all(callers);
  } else {
    const running: Promise<void>[] = [];
    let nextAt = startedMs;
    while (open()) {
      running.push(ask());
      nextAt += (-Math.log(1 - random()) / plan.rate) * 1000;
      await sleep(Math.max(0, nextAt - now()), signal).catch(() => {});
    }
    await Promise.all(running);
  }
  return { samples, wallMs: now() - startedMs, mostInFlight };
}
