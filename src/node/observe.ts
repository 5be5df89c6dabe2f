import type { Logger } from 'pino';
import type { RecordSink, Watcher } from '../core/record.ts';
import type { Status } from '../core/status.ts';
import type { Exposition } from '../http/routes/metrics.ts';
import { createLog, type LogOptions } from '../observability/log.node.ts';
import { prometheusMeter } from '../observability/metrics.node.ts';
import { createMetrics } from '../observability/metrics.ts';
import { otlpExporter } from '../observability/traces.node.ts';
import { traceRequests } from '../observability/traces.ts';

export interface Observers {
  readonly log: Logger;
  readonly metrics: Exposition;
  readonly sinks: readonly RecordSink[];
  readonly watchers: readonly Watcher[];
  close(): Promise<void>;
}

export interface ObserveOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: LogOptions;
  readonly knowsModel: (model: string) => boolean;
  readonly status: Status;
}

/** Log and metrics always, traces where OpenTelemetry's usual variables name a collector. */
export async function observe({ env, log: logOptions, knowsModel, status }: ObserveOptions): Promise<Observers> {
  const { log, record } = await createLog(logOptions);
  const meter = prometheusMeter();
  const metrics = createMetrics(meter, { knowsModel, status });
  const traced = env['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  const otlp = traced
    ? await otlpExporter({ onError: (error) => log.warn({ err: error }, 'traces are not exported') })
    : undefined;
  return {
    log,
    metrics: meter,
    sinks: [record, metrics.record],
    watchers: otlp ? [traceRequests(otlp.export)] : [],
    close: async () => otlp?.close(),
  };
}
