import type { Cluster, Worker } from 'node:cluster';
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from 'prom-client';
import { randomId } from '../core/clock.ts';
import type { Exposition } from '../http/routes/metrics.ts';

/** What workers and the process that started them say to each other, to answer one scrape for all of them. */
type Message =
  | { readonly tidegate: 'metrics-wanted'; readonly id: string }
  | { readonly tidegate: 'metrics-asked'; readonly id: string }
  | { readonly tidegate: 'metrics-given'; readonly id: string; readonly metrics: Snapshot }
  | { readonly tidegate: 'metrics-answered'; readonly id: string; readonly text: string };
type Snapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'tidegate' in value && String(value.tidegate).startsWith('metrics-');

/** A worker that does not answer in so long is left out of the sum. */
const patienceMs = 2000;

/** In the first process: asks every worker when one of them is scraped, and adds up what they say. */
export function gatherMetrics(cluster: Cluster): void {
  const open = new Map<string, { readonly given: Snapshot[]; readonly waitFor: Set<number>; done: () => void }>();
  const gather = (asking: Worker, id: string) => {
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    const given: Snapshot[] = [];
    const done = () => {
      if (!open.delete(id)) return;
      clearTimeout(timer);
      const sum = AggregatorRegistry.aggregate(given as unknown as object[]); // as its workers send them
      void sum.metrics().then((text) => {
        if (asking.isConnected()) asking.send({ tidegate: 'metrics-answered', id, text } satisfies Message);
      });
    };
    const timer = setTimeout(done, patienceMs);
    open.set(id, { given, waitFor: new Set(workers.map((worker) => worker.id)), done });
    for (const worker of workers) worker.send({ tidegate: 'metrics-asked', id } satisfies Message);
  };
  cluster.on('message', (worker, message: unknown) => {
    if (!isMessage(message)) return;
    if (message.tidegate === 'metrics-wanted') gather(worker, message.id);
    if (message.tidegate !== 'metrics-given') return;
    const asked = open.get(message.id);
    if (!asked?.waitFor.delete(worker.id)) return;
    asked.given.push(message.metrics);
    if (asked.waitFor.size === 0) asked.done();
  });
}

/** In a worker: a scrape of it tells of all workers together. */
export function sharedMetrics(own: Exposition & { snapshot(): Promise<Snapshot> }): Exposition {
  const waiting = new Map<string, (text: string) => void>();
  process.on('message', (message: unknown) => {
    if (!isMessage(message)) return;
    const { id } = message;
    if (message.tidegate === 'metrics-asked') {
      void own
        .snapshot()
        .then((metrics) => process.send?.({ tidegate: 'metrics-given', id, metrics } satisfies Message));
    } else if (message.tidegate === 'metrics-answered') {
      waiting.get(id)?.(message.text);
      waiting.delete(id);
    }
  });
  return {
    contentType: own.contentType,
    expose: () =>
      new Promise((resolve, reject) => {
        const id = randomId('');
        const timer = setTimeout(() => {
          waiting.delete(id);
          own.expose().then(resolve, reject); // the first process is gone or stuck: better its own than nothing
        }, patienceMs * 2);
        waiting.set(id, (text) => {
          clearTimeout(timer);
          resolve(text);
        });
        process.send?.({ tidegate: 'metrics-wanted', id } satisfies Message);
      }),
  };
}
