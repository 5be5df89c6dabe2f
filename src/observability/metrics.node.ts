import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
import type { Bound, Meter, MetricSpec } from './meter.ts';

/** A meter over prom-client and its `/metrics` text, with the process's own figures beside ours. */
export function prometheusMeter({ process: withProcess = true }: { readonly process?: boolean } = {}): Meter & {
  readonly contentType: string;
  expose(): Promise<string>;
  /** All values as data, for one process to add up those of several. */
  snapshot(): ReturnType<Registry['getMetricsAsJSON']>;
} {
  const registry = new Registry();
  if (withProcess) collectDefaultMetrics({ register: registry });
  const base = ({ name, help, labels }: MetricSpec) => ({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
  });
  return {
    counter(spec) {
      /** What has come since the last scrape: prom-client looks its labels up anew for every single increment. */
      const pending = new Map<string, { value: number; add: (value: number) => void }>();
      const metric = new Counter({
        ...base(spec),
        collect() {
          for (const each of pending.values()) {
            if (each.value > 0) each.add(each.value);
            each.value = 0;
          }
        },
      });
      if (spec.labels.length === 0) metric.inc(0);
      return (labels) => {
        const key = labels.join('\0');
        let counted = pending.get(key);
        if (!counted) {
          const child = metric.labels(...labels);
          counted = { value: 0, add: (value) => child.inc(value) };
          pending.set(key, counted);
        }
        const own = counted;
        return (value) => {
          own.value += value;
        };
      };
    },
    histogram(spec) {
      const { metric, bind } = histogram(spec);
      registry.registerMetric(metric as unknown as Metric); // the part of it that a registry asks for
      return bind;
    },
    scraped({ kind, read, ...spec }) {
      if (kind === 'gauge') {
        new Gauge({
          ...base(spec),
          collect() {
            this.reset();
            for (const { labels, value } of read()) this.labels(...labels).set(value);
          },
        });
      } else {
        new Counter({
          ...base(spec),
          collect() {
            this.reset();
            for (const { labels, value } of read()) this.labels(...labels).inc(value);
          },
        });
      }
    },
    contentType: registry.contentType,
    expose: () => registry.metrics(),
    snapshot: () => registry.getMetricsAsJSON(),
  };
}

/**
 * A histogram as prom-client's registry prints it, counted in a typed array: prom-client's own turns a bucket's bound
 * into a property name for every observation, which was a twentieth of a whole request.
 */
function histogram({ name, help, labels: names, buckets }: MetricSpec & { readonly buckets: readonly number[] }) {
  const children = new Map<string, { labels: Record<string, string>; counts: Float64Array; sum: number }>();
  const bind = (values: readonly string[]): Bound => {
    const key = values.join('\0');
    const known = children.get(key);
    const labels = Object.fromEntries(names.map((label, index) => [label, values[index] ?? '']));
    const child = known ?? { labels, counts: new Float64Array(buckets.length + 1), sum: 0 };
    children.set(key, child);
    return (value) => {
      if (!Number.isFinite(value)) return;
      let bucket = 0;
      while (bucket < buckets.length && value > (buckets[bucket] ?? 0)) bucket++;
      child.counts[bucket] = (child.counts[bucket] ?? 0) + 1;
      child.sum += value;
    };
  };
  const values = () =>
    [...children.values()].flatMap(({ labels, counts, sum }) => {
      if (counts.every((count) => count === 0)) return []; // bound, and never observed
      let total = 0;
      const cumulative = [...counts].map((count, index) => {
        total += count;
        return { labels: { le: buckets[index] ?? '+Inf', ...labels }, value: total, metricName: `${name}_bucket` };
      });
      return [
        ...cumulative,
        { labels, value: sum, metricName: `${name}_sum` },
        { labels, value: total, metricName: `${name}_count` },
      ];
    });
  const get = async () => ({ name, help, type: 'histogram', aggregator: 'sum', values: values() });
  return { metric: { name, help, get }, bind };
}
