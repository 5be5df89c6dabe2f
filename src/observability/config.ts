import * as z from 'zod';
import { duration } from '../config-values.ts';
import { once } from '../core/once.ts';
import { defaultAlertLimits } from './alerts.ts';

const share = once(() => z.number().min(0).max(1));
const headers = once(() => z.record(z.string(), z.string()).default({}));

/** `observability:` in tidegate.yaml. */
export const observabilityConfig = once(() =>
  z
    .strictObject({
      log: z
        .strictObject({
          level: z
            .enum(['debug', 'info', 'warn', 'error', 'silent'])
            .default('info')
            .describe('The least that is logged.'),
        })
        .prefault({})
        .describe('The log on standard output.'),
      metrics: z
        .strictObject({
          enabled: z.boolean().default(true).describe('Count for `/metrics`; without it that path is not there.'),
          open: z.boolean().default(false).describe('Answer `/metrics` without a key, also when keys are on.'),
        })
        .prefault({})
        .describe('Prometheus metrics at `/metrics`.'),
      traces: z
        .strictObject({
          url: z
            .url({ protocol: /^https?$/ })
            .describe('Where OTLP traces go, whole: `http://127.0.0.1:4318/v1/traces`.'),
          headers: headers().describe(
            'Sent with each export: `x-mlflow-experiment-id` for MLflow, keys of a hosted collector.',
          ),
          sampled: share().default(1).describe('Share of new traces that are kept; a client that decides is obeyed.'),
          content: z.boolean().default(false).describe('Put prompts and answers into the spans.'),
        })
        .optional()
        .describe('Traces by OTLP. OpenTelemetry’s own OTEL_EXPORTER_OTLP_* variables work as well.'),
      history: z.int().min(1).max(100_000).default(2000).describe('How many requests the dashboard can look back on.'),
      quality: z
        .strictObject({
          reference: z.int().min(10).default(200).describe('The first so many answers of a version are its reference.'),
          current: z.int().min(10).default(200).describe('So many last answers are compared with it.'),
          passedThrough: share()
            .default(0.1)
            .describe('Share of the answers that pass through unread whose copy is read when they have ended.'),
          embeddings: z
            .string()
            .optional()
            .describe('A public embedding model: how far answers are from the usual ones in meaning is watched too.'),
          embedded: share().default(0.05).describe('Share of the answers that are embedded.'),
        })
        .prefault({})
        .describe('Distributions and drift per version.'),
      alerts: z
        .strictObject({
          webhook: z.url({ protocol: /^https?$/ }).describe('Gets Alertmanager’s webhook message.'),
          headers: headers().describe('Sent with each message.'),
          every: duration().default(15_000).describe('How often the conditions are checked.'),
          hold: duration().default(60_000).describe('How long a condition holds before it is told.'),
          errorShare: share()
            .default(defaultAlertLimits.errorShare)
            .describe('Share of failing requests; 0 switches it off.'),
          ttft: duration()
            .default(defaultAlertLimits.ttftMs)
            .describe('Time to first token, 95th percentile; 0 switches it off.'),
          waiting: z
            .int()
            .min(0)
            .default(defaultAlertLimits.waiting)
            .describe('Requests in an engine’s queue; 0 switches it off.'),
          budgetShare: share()
            .default(defaultAlertLimits.budgetShare)
            .describe('Spent share of a budget; 0 switches it off.'),
          drift: z.number().min(0).default(defaultAlertLimits.drift).describe('PSI of any signal; 0 switches it off.'),
          restarts: z
            .int()
            .min(0)
            .default(defaultAlertLimits.restarts)
            .describe('Engine restarts in 15 minutes; 0 switches it off.'),
        })
        .optional()
        .describe('Alerts by webhook, for those who run no Prometheus.'),
    })
    .describe('Logs, metrics, traces, quality and alerts.'),
);

export type ObservabilityConfig = z.infer<ReturnType<typeof observabilityConfig>>;
