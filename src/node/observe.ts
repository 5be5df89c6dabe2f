import cluster from 'node:cluster';
import type { Logger } from 'pino';
import type { Feedback, RecordSink, Watcher } from '../core/record.ts';
import type { Status } from '../core/status.ts';
import type { Exposition } from '../http/routes/metrics.ts';
import { createAlerts } from '../observability/alerts.ts';
import type { ObservabilityConfig } from '../observability/config.ts';
import { createHistory, type History } from '../observability/history.ts';
import { createLive, type Live } from '../observability/live.ts';
import { createLog, type LogOptions } from '../observability/log.node.ts';
import { prometheusMeter } from '../observability/metrics.node.ts';
import { createMetrics, type HttpSample } from '../observability/metrics.ts';
import { createQuality, type Quality, type QualityOptions } from '../observability/quality.ts';
import { otlpExporter } from '../observability/traces.node.ts';
import { traceRequests } from '../observability/traces.ts';
import { sharedMetrics } from './worker-metrics.ts';

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
  readonly config: ObservabilityConfig;
  /** A text's vector from a public embedding model. */
  readonly embed: (model: string, text: string) => Promise<readonly number[] | Float32Array>;
  readonly decodeWire: NonNullable<QualityOptions['decodeWire']>;
}

/** Log and metrics always, traces where OpenTelemetry's usual variables name a collector. */
export async function observe({
  env,
  log: logOptions,
  knowsModel,
  status,
  version,
  config,
  embed,
  decodeWire,
}: ObserveOptions): Promise<Observers> {
  const { log, record } = await createLog({ level: config.log.level, ...logOptions });
  const meter = prometheusMeter();
  const { embeddings } = config.quality;
  const quality = createQuality({
    referenceSize: config.quality.reference,
    currentSize: config.quality.current,
    readShare: config.quality.passedThrough,
    embedShare: config.quality.embedded,
    decodeWire,
    ...(embeddings !== undefined && { embed: (text) => embed(embeddings, text) }),
  });
  const counting = config.metrics.enabled;
  const metrics = createMetrics(meter, { knowsModel, status, quality, version });
  const history = createHistory({ size: config.history });
  const live = createLive({ status });
  const ticking = setInterval(live.tick, 1000);
  ticking.unref();
  const { traces } = config;
  const traced = traces ?? env['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  const otlp = traced
    ? await otlpExporter({
        serviceVersion: version,
        ...(traces && { url: traces.url, headers: traces.headers }),
        onError: (error) =>
          log.warn({ reason: error instanceof Error ? error.message : String(error) }, 'traces are not exported'),
      })
    : undefined;
  const alerts =
    config.alerts &&
    watchAlerts(config.alerts, status, quality, (error) => log.warn({ err: error }, 'an alert was not delivered'));
  return {
    log,
    metrics: cluster.isWorker ? sharedMetrics(meter) : meter,
    sinks: [record, ...(counting ? [metrics.record] : []), history.sink, ...(alerts ? [alerts.sink] : [])],
    watchers: [
      live.watch,
      history.watch,
      quality.watch,
      ...(otlp ? [traceRequests(otlp.export, { content: traces?.content ?? false })] : []),
    ],
    history,
    live,
    quality,
    observeHttp: counting ? metrics.http : () => {},
    observeFeedback(feedback) {
      metrics.feedback(feedback);
      quality.feedback(feedback);
    },
    async close() {
      clearInterval(ticking);
      alerts?.stop();
      await otlp?.close();
    },
  };
}

/** Checks the alerts' conditions by a timer and posts what they say. */
function watchAlerts(
  config: NonNullable<ObservabilityConfig['alerts']>,
  status: Status,
  quality: Quality,
  onError: (error: unknown) => void,
): { readonly sink: RecordSink; stop(): void } {
  const { webhook, headers, every, hold, ttft, ...limits } = config;
  const alerts = createAlerts({
    limits: { ...limits, ttftMs: ttft },
    status,
    quality,
    holdMs: hold,
    async send(message) {
      const response = await fetch(webhook, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(message),
        redirect: 'error',
        signal: AbortSignal.timeout(10_000),
      });
      if (!response.ok) throw new Error(`the webhook answered ${response.status}`);
    },
  });
  let checking = false;
  const timer = setInterval(() => {
    if (checking) return;
    checking = true;
    alerts
      .check()
      .catch(onError)
      .finally(() => {
        checking = false;
      });
  }, every);
  timer.unref();
  return { sink: alerts.sink, stop: () => clearInterval(timer) };
}
