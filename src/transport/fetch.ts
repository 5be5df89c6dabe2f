import { platformSignal } from '../core/abort.ts';
import { GatewayError } from '../core/errors.ts';
import { abortError, throwIfAborted } from '../core/signals.ts';
import { headersByName, type Transport } from '../core/transport.ts';
import { transportError } from './errors.ts';

export interface FetchTransportOptions {
  readonly fetch?: typeof globalThis.fetch;
}

/** Upstreams over the platform's fetch, for the edge. Decompression, pooling and connect timeouts are the platform's. */
export function createFetchTransport({ fetch = globalThis.fetch }: FetchTransportOptions = {}): Transport {
  return {
    async send({ method, url, headers, body }, { signal }) {
      throwIfAborted(signal);
      let response: Response;
      try {
        // The cast: a Uint8Array over any buffer is a body; the DOM types only name ArrayBuffer.
        response = await fetch(url, {
          method,
          headers: headersByName(headers),
          ...(body === undefined ? {} : { body: body as string | Uint8Array<ArrayBuffer> }),
          signal: platformSignal(signal),
          redirect: 'manual',
        });
      } catch (error) {
        throw transportError(error, 'head', signal);
      }
      if (response.type === 'opaqueredirect') {
        throw new GatewayError('upstream_failed', 'The upstream answered with a redirect, which is never followed.');
      }
      const plain: Record<string, string> = {};
      for (const [name, value] of response.headers) plain[name.toLowerCase()] = value;
      delete plain['content-encoding']; // fetch has already undone it
      return { status: response.status, headers: plain, body: readBody(response.body, signal) };
    },
  };
}

async function* readBody(body: ReadableStream<Uint8Array> | null, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (!body) return;
  const reader = body.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      if (signal.aborted) throw abortError(signal);
      yield value;
    }
  } catch (error) {
    throw transportError(error, 'body', signal);
  } finally {
    reader.cancel().catch(() => {}); // a body already ended or errored has nothing to cancel
  }
}
