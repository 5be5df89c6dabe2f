import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Meter, MetricSpec } from './meter.ts';

/** A meter over prom-client and its `/metrics` text, with the process's own figures beside ours. */
export function prometheusMeter({ process: withProcess = true }: { readonly process?: boolean } = {}): Meter & {
  readonly contentType: string;
  expose(): Promise<string>;
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
      const metric = new Counter(base(spec));
      if (spec.labels.length === 0) metric.inc(0);
      return (labels) => {
        const child = metric.labels(...labels);
        return (value) => child.inc(value);
      };
    },
    histogram({ buckets, ...spec }) {
      const metric = new Histogram({ ...base(spec), buckets: [...buckets] });
      return (labels) => {
        const child = metric.labels(...labels);
        return (value) => child.observe(value);
      };
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
  };
}
