import { createAborter } from '../core/abort.ts';
import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import { totalTimeout } from './call.ts';

/** One signal for a whole answer: the client's, the route's total deadline, and a shutdown. */
export function createScope(client: AbortSignal, totalMs: number) {
  const { signal, abort } = createAborter();
  const onClient = () => abort(abortError(client));
  if (client.aborted) onClient();
  else client.addEventListener('abort', onClient, { once: true });
  const timer =
    totalMs > 0
      ? setTimeout(() => {
          abort(new GatewayError('timeout', `The answer took longer than ${totalMs} ms.`, { code: totalTimeout }));
        }, totalMs)
      : undefined;
  return {
    signal,
    abort,
    clear() {
      clearTimeout(timer);
      client.removeEventListener('abort', onClient);
    },
  };
}
