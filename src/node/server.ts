import type { Server } from 'node:http';
import { createServer } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';

export interface Listening {
  readonly host: string;
  readonly port: number;
  /** Accepts nothing new, lets running answers end for at most `drainMs`, then cuts them. */
  close(drainMs: number): Promise<void>;
}

/** Serves `fetch` on node:http, with limits against slow and silent clients. */
export function listen(
  fetch: (request: Request, env: object) => Promise<Response> | Response,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<Listening> {
  const server = createAdaptorServer({
    fetch: fetch as Parameters<typeof createAdaptorServer>[0]['fetch'], // bindings are typed by the app
    overrideGlobalObjects: false,
    createServer,
    serverOptions: {
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 72_000,
      connectionsCheckingInterval: 1000,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      maxHeaderSize: 32 * 1024,
    },
  }) as Server; // made by node:http's createServer above
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      const actual = typeof address === 'object' && address ? address.port : port;
      resolve({ host, port: actual, close: (drainMs) => drain(server, drainMs) });
    });
  });
}

function drain(server: Server, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), drainMs);
    const idle = setInterval(() => server.closeIdleConnections(), 100);
    server.close(() => {
      clearTimeout(timer);
      clearInterval(idle);
      resolve();
    });
    server.closeIdleConnections();
  });
}
