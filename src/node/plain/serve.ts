import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { DirectRoutes } from '../../http/direct.ts';
import { limitReader } from '../reader-limit.ts';
import { PlainConnection, type PlainLimits } from './connection.ts';

export interface PlainConnections {
  /** Some clients have not read all that node:http has written. */
  readonly someRead: boolean;
  /** Ends those that rest, and each other one with its answer. */
  close(): void;
  destroy(): void;
}

/**
 * Answers plain requests to the direct routes without node:http, whose request and response take a fifth of a whole
 * answer's time; every connection that carries anything else is left to it. Call before anybody else listens to the
 * server's connections.
 */
export function servePlainly(
  server: Server,
  direct: DirectRoutes,
  limits: PlainLimits & { readonly connectionsCheckingInterval: number },
): PlainConnections {
  const connections = new Set<PlainConnection>();
  const handedOver = new Set<Socket>();
  const nodes = server.listeners('connection'); // how node:http takes a socket
  let closing = false;
  const options = {
    direct,
    handOver: (socket: Socket) => {
      handedOver.add(socket);
      socket.once('close', () => handedOver.delete(socket));
      for (const take of nodes) take.call(server, socket);
    },
    keepAliveSeconds: () => (closing ? 0 : Math.floor(limits.keepAliveTimeout / 1000)),
    onGone: (connection: PlainConnection) => connections.delete(connection),
  };
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    connections.add(new PlainConnection(socket, options));
  });
  const check = setInterval(() => {
    for (const connection of connections) connection.check(limits);
    for (const socket of handedOver) limitReader(socket, limits.slowReaderMs());
  }, limits.connectionsCheckingInterval);
  check.unref();
  server.once('close', () => clearInterval(check));
  return {
    get someRead() {
      for (const { writableLength } of handedOver) if (writableLength > 0) return true;
      return false;
    },
    close() {
      closing = true;
      for (const connection of connections) connection.close();
    },
    destroy() {
      for (const connection of connections) connection.destroy();
    },
  };
}
