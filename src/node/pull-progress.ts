import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import type { PullModel } from '../http/routes/ollama.ts';
import { resolveReference } from '../models/cache.ts';
import type { PullProgress } from '../models/progress.ts';
import { pullModel } from '../models/pull.ts';
import { modelSettings } from '../models/settings.ts';

/**
 * Fetches a model and tells its progress as it comes; a reader who is slow only misses steps in between. Over HTTP only
 * from the catalogue and the hub, and what the configuration itself names: another address or path would let a request
 * reach for what it likes.
 */
export function createPullProgress(
  env: Readonly<Record<string, string | undefined>>,
  isConfigured: (name: string) => boolean = () => false,
): PullModel {
  const settings = modelSettings(env);
  return async function* pull(name, signal) {
    const isElsewhere = /^https?:/i.test(name) || (await resolveReference(name, settings)).kind === 'path';
    if (isElsewhere && !isConfigured(name)) {
      throw new GatewayError(
        'forbidden',
        'Over HTTP only models of the catalogue and hf:OWNER/REPO/FILE are fetched; fetch this one with `tidegate pull`.',
        { param: 'model' },
      );
    }
    yield { status: 'pulling manifest' };
    let latest: PullProgress | undefined;
    let wake = () => {};
    let failure: unknown;
    let done = false;
    pullModel(name, {
      settings,
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
          digest: name, // chat apps show a bar only for steps that have one
          completed: step.received,
          ...(step.total === undefined ? {} : { total: step.total }),
        };
    }
    if (failure !== undefined) throw failure;
  };
}
