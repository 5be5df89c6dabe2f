import type { Logger } from 'pino';
import type { RecordSink, Watcher } from '../core/record.ts';
import type { Status } from '../core/status.ts';
import type { Exposition } from '../http/routes/metrics.ts';
import type { Feedback } from '../observability/feedback.ts';
import { createHistory, type History } from '../observability/history.ts';
import { createLive, type Live } from '../observability/live.ts';
import { createLog, type LogOptions } from '../observability/log.node.ts';
import { prometheusMeter } from '../observability/metrics.node.ts';
import { createMetrics, type HttpSample } from '../observability/metrics.ts';
import { createQuality, type Quality } from '../observability/quality.ts';
import { otlpExporter } from '../observability/traces.node.ts';
import { traceRequests } from '../observability/traces.ts';

export interface Observers {
  readonly log: Logger;
  readonly metrics: Exposition;
  readonly sinks: readonly RecordSink[];
  readonly watchers: readonly Watcher[];
  readonly history: History;
  readonly live: Live;
  readonly quality: Quality;
  observeHttp(sample: HttpSample): void;
  observeFeedback(feedback: Feedback): void;
  close(): Promise<void>;
}

export interface ObserveOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: LogOptions;
  readonly knowsModel: (model: string) => boolean;
  readonly status: Status;
  readonly version: string;
}

/** Log and metrics always, traces where OpenTelemetry's usual variables name a collector. */
export async function observe({
  env,
  log: logOptions,
  knowsModel,
  status,
  version,
}: ObserveOptions): Promise<Observers> {
  const { log, record } = await createLog(logOptions);
  const meter = prometheusMeter();
  const quality = createQuality();
  const metrics = createMetrics(meter, { knowsModel, status, quality, version });
  const history = createHistory();
  const live = createLive({ status });
  const ticking = setInterval(live.tick, 1000);
  ticking.unref();
  const traced = env['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  const otlp = traced
    ? await otlpExporter({
        serviceVersion: version,
        onError: (error) => log.warn({ err: error }, 'traces are not exported'),
      })
    : undefined;
  return {
    log,
    metrics: meter,
    sinks: [record, metrics.record, history.sink],
    watchers: [live.watch, history.watch, quality.watch, ...(otlp ? [traceRequests(otlp.export)] : [])],
    history,
    live,
    quality,
    observeHttp: metrics.http,
    observeFeedback(feedback) {
      metrics.feedback(feedback);
      quality.feedback(feedback);
    },
    async close() {
      clearInterval(ticking);
      await otlp?.close();
    },
  };
}
