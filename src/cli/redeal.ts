import type { Worker } from 'node:cluster';

/** What node:cluster's two sides say to each other about connections; of that, what is read here. */
interface ClusterMessage {
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
}

/**
 * Gives a connection that was on its way to a worker when that one died to another worker. node:cluster waits for the
 * dead one's word for ever, and the client with it; so the word that it would have said, had it been closing, is said
 * in its place. Its messages are not documented: were they different ones, nothing would be done here.
 */
export function redealConnections(worker: Worker): void {
  const child = worker.process;
  const untaken = new Set<number>();
  const send = child.send.bind(child) as (...args: unknown[]) => boolean;
  child.send = (...args: unknown[]) => {
    const { act, seq } = (args[0] ?? {}) as ClusterMessage;
    if (act === 'newconn' && seq !== undefined) untaken.add(seq);
    return send(...args);
  };
  child.on('internalMessage', ({ ack }: ClusterMessage) => {
    if (ack !== undefined) untaken.delete(ack);
  });
  const redeal = () => {
    if (worker.isConnected()) return; // it would be dealt to again
    for (const ack of untaken) child.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack, accepted: false });
  };
  worker.on('disconnect', redeal);
  worker.on('exit', redeal); // the only one of the two where a connection is still on its way
}
