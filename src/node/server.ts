import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Handler } from '../http/deps.ts';
import { DirectContext, type DirectRoutes } from '../http/direct.ts';
import { defaultHttpOptions } from '../http/env.ts';
import { isHostUnclear } from './asked-host.ts';
import { inTurn } from './in-turn.ts';
import { JoinedResponse } from './joined-response.ts';
import { type PlainConnections, servePlainly } from './plain/serve.ts';
import { refuse, refuseTunnel, refuseUnreadable, type Taken } from './refusals.ts';

export interface Listening {
  readonly host: string;
  readonly port: number;
  /** Accepts nothing new, lets running answers end for at most `drainMs`, then cuts them. */
  close(drainMs: number): Promise<void>;
}

/** What is served: the app as a web server's function, and its routes that need none of that. */
export interface Served {
  fetch(request: Request, env: object): Promise<Response> | Response;
  readonly direct: DirectRoutes;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** For how long a client may take nothing of its answer. */
  readonly slowReaderMs?: () => number;
}

/** Node's 511 fill in a moment of many new clients; the kernel drops the next, and they come again a second later. */
const waitingConnections = 4096;

/** Serves the app on node:http, with limits against slow and silent clients. */
export function listen(
  { fetch, direct }: Served,
  { host, port, slowReaderMs = () => defaultHttpOptions.slowReaderMs }: ListenOptions,
): Promise<Listening> {
  const options = {
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 72_000,
    connectionsCheckingInterval: 1000,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    maxHeaderSize: 32 * 1024,
    requireHostHeader: false, // it would refuse without a word
    slowReaderMs,
    ServerResponse: JoinedResponse,
  };
  const general = getRequestListener(
    fetch as Parameters<typeof getRequestListener>[0], // bindings are typed by the app
    { overrideGlobalObjects: false, hostname: 'localhost' }, // for HTTP/1.0, whose health checks name no host
  );
  const taken = new WeakMap<Socket, Taken>();
  const server = createServer(
    options,
    inTurn((incoming, outgoing) => {
      const { url = '', method = '', headers, socket } = incoming;
      taken.set(socket, { incoming, outgoing });
      if (url === '*') return refuse(outgoing, 400, 'A request has to name a path.');
      if (isHostUnclear(incoming)) return refuse(outgoing, 400, 'A request has to name one host.');
      const handler = headers.host === undefined ? undefined : direct.get(url)?.get(method);
      if (handler) answerDirectly(handler, url, incoming, outgoing);
      else void general(incoming, outgoing);
    }),
  );
  server.on('connect', ({ socket }) => refuseTunnel(socket, taken.has(socket)));
  refuseUnreadable(server, (socket) => taken.get(socket));
  const plain = servePlainly(server, direct, options);
  const closeIdle = server.closeIdleConnections.bind(server);
  // Node takes a connection for idle, here and in its `close`, when its answer was written, also while a client reads it.
  server.closeIdleConnections = () => {
    if (!plain.someRead) closeIdle();
  };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, backlog: waitingConnections }, () => {
      server.off('error', reject);
      const address = server.address();
      const actual = typeof address === 'object' && address ? address.port : port;
      resolve({ host, port: actual, close: (drainMs) => drain(server, plain, drainMs) });
    });
  });
}

function answerDirectly(handler: Handler, route: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
  handler(new DirectContext(route, incoming, outgoing)).then(
    () => {
      if (!incoming.complete) leaveBody(incoming);
    },
    () => {
      if (!outgoing.headersSent) outgoing.writeHead(500).end();
      else outgoing.destroy();
    },
  );
}

/** How long a client may go on with a body whose answer was given before its end: a refusal that it has not read yet. */
const restOfBodyMs = 500;

function leaveBody(incoming: IncomingMessage): void {
  const timer = setTimeout(() => incoming.socket.destroySoon(), restOfBodyMs);
  timer.unref();
  incoming.once('close', () => clearTimeout(timer));
  incoming.resume();
}

function drain(server: Server, plain: PlainConnections, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    plain.close();
    const timer = setTimeout(() => {
      server.closeAllConnections();
      plain.destroy();
    }, drainMs);
    const idle = setInterval(() => server.closeIdleConnections(), 100);
    server.close(() => {
      clearTimeout(timer);
      clearInterval(idle);
      resolve();
    });
    server.closeIdleConnections();
  });
}
