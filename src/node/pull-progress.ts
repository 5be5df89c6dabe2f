import { abortError } from '../core/signals.ts';
import type { PullModel } from '../http/routes/ollama.ts';
import type { PullProgress } from '../models/progress.ts';
import { pullModel } from '../models/pull.ts';
import { modelSettings } from '../models/settings.ts';

/** Fetches a model and tells its progress as it comes; a reader who is slow only misses steps in between. */
export function createPullProgress(env: Readonly<Record<string, string | undefined>>): PullModel {
  return async function* pull(name, signal) {
    let latest: PullProgress | undefined;
    let wake = () => {};
    let failure: unknown;
    let done = false;
    pullModel(name, {
      settings: modelSettings(env),
      signal,
      onProgress: (progress) => {
        latest = progress;
        wake();
      },
    })
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => {
        done = true;
        wake();
      });
    while (!done) {
      if (!latest) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (signal.aborted) throw abortError(signal);
      const step = latest;
      latest = undefined;
      if (step)
        yield {
          status: `${step.phase} ${name}`,
          completed: step.received,
          ...(step.total === undefined ? {} : { total: step.total }),
        };
    }
    if (failure !== undefined) throw failure;
  };
}
