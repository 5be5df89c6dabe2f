import type { Transport } from '../core/transport.ts';

/** A transport that is loaded with the first request that needs it, for one whose code would hold up every start. */
export function lazyTransport(load: () => Promise<Transport>): Transport {
  let loading: Promise<Transport> | undefined;
  let loaded: Transport | undefined;
  const loadOnce = () => {
    loading ??= load().then((transport) => {
      loaded = transport;
      return transport;
    });
    return loading;
  };
  return {
    send: (request, options) =>
      loaded?.send(request, options) ?? loadOnce().then((transport) => transport.send(request, options)),
    close: async () => (await loading)?.close?.(),
  };
}
