import type { SpanData } from './spans.ts';
import type { SpanExporter } from './traces.ts';

export interface OtlpOptions {
  /** Where traces go, whole: `http://127.0.0.1:4318/v1/traces`. Absent: what `OTEL_EXPORTER_OTLP_*` say. */
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly serviceVersion?: string;
  /** Told once per failing export, never thrown: tracing must not take the gateway down. */
  readonly onError?: (error: unknown) => void;
  readonly flushEveryMs?: number;
  /** A collector that takes longer is not waited for. */
  readonly timeoutMs?: number;
}

export interface Otlp {
  readonly export: SpanExporter;
  /** Sends what is left, for at most `limitMs`; never throws. */
  close(limitMs?: number): Promise<void>;
}

const spanKinds = { internal: 0, server: 1, client: 2 } as const;

/**
 * Sends spans by OTLP (HTTP, protobuf) through OpenTelemetry's own exporter and batching. The SDK is an optional
 * dependency and is imported only here.
 */
export async function otlpExporter({
  url,
  headers,
  serviceVersion = 'unknown',
  onError = () => {},
  flushEveryMs = 2000,
  timeoutMs = 10_000,
}: OtlpOptions = {}): Promise<Otlp> {
  const [{ OTLPTraceExporter }, { BatchSpanProcessor }, { resourceFromAttributes }, { diag, DiagLogLevel }] =
    await importSdk();
  // What fails in a batch goes to the SDK's own log, and from there to the caller; it is never thrown.
  const quiet = () => {};
  diag.setLogger(
    {
      error: (message) => onError(new Error(plainMessage(message))),
      warn: quiet,
      info: quiet,
      debug: quiet,
      verbose: quiet,
    },
    { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true },
  );
  const exporter = new OTLPTraceExporter({
    ...(url !== undefined && { url }),
    ...(headers && { headers: { ...headers } }),
    timeoutMillis: timeoutMs,
  });
  const processor = new BatchSpanProcessor(exporter, {
    scheduledDelayMillis: flushEveryMs,
    exportTimeoutMillis: timeoutMs + 1000,
  });
  const resource = resourceFromAttributes({ 'service.name': 'tidegate', 'service.version': serviceVersion });
  const scope = { name: 'tidegate', version: serviceVersion };

  return {
    export(spans, { traceId, state, parentSpanId }) {
      const traceState = state === undefined ? {} : { traceState: traceStateOf(state) };
      for (const span of spans) {
        processor.onEnd({
          name: span.name,
          kind: spanKinds[span.kind],
          spanContext: () => ({ traceId, spanId: span.spanId, traceFlags: 1, ...traceState }),
          ...(span.parentSpanId !== undefined && {
            parentSpanContext: {
              traceId,
              spanId: span.parentSpanId,
              traceFlags: 1,
              isRemote: span.parentSpanId === parentSpanId,
            },
          }),
          startTime: hrTime(span.startMs),
          endTime: hrTime(span.endMs),
          duration: hrTime(Math.max(0, span.endMs - span.startMs)),
          status: span.error === undefined ? { code: 0 } : { code: 2, message: span.error },
          attributes: attributesOf(span),
          events: span.events.map(({ name, atMs }) => ({ name, time: hrTime(atMs) })),
          links: [],
          ended: true,
          resource,
          instrumentationScope: scope,
          droppedAttributesCount: 0,
          droppedEventsCount: 0,
          droppedLinksCount: 0,
        });
      }
    },
    async close(limitMs = 3000) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, limitMs);
      });
      await Promise.race([processor.shutdown().catch(onError), late]);
      clearTimeout(timer);
    },
  };
}

/** The SDK logs errors as JSON, stack and all. */
function plainMessage(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : text;
  } catch {
    return text;
  }
}

const importSdk = () =>
  Promise.all([
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/api'),
  ]).catch((cause: unknown) => {
    const packages = 'sdk-trace-base resources exporter-trace-otlp-proto'.replace(/\S+/g, '@opentelemetry/$&');
    throw new Error(`Tracing needs packages that are not installed: npm install ${packages}`, { cause });
  });

const hrTime = (ms: number): [seconds: number, nanoseconds: number] => {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
};

const attributesOf = ({ attributes }: SpanData) =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, typeof value === 'object' ? [...value] : value]),
  );

/** The part of OpenTelemetry's TraceState that an exporter uses; the value goes on as it came. */
const traceStateOf = (state: string) => ({
  serialize: () => state,
  get: () => undefined,
  set: () => traceStateOf(state),
  unset: () => traceStateOf(state),
});
