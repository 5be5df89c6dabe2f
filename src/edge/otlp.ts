import type { AttributeValue, SpanData } from '../observability/spans.ts';
import type { SpanExporter } from '../observability/traces.ts';

export interface EdgeOtlpOptions {
  /** Where traces go, whole: `https://collector.example/v1/traces`. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly serviceVersion: string;
  readonly onError: (error: unknown) => void;
  readonly fetch?: typeof globalThis.fetch;
}

const maxWaiting = 2000;
const timeoutMs = 5_000;
const kinds = { internal: 1, server: 2, client: 3 } as const;

/**
 * Spans by OTLP over HTTP with JSON, without OpenTelemetry's SDK, which the edge has no room for. They leave together
 * when a request ends, behind its answer; what a collector does not take is told once and dropped.
 */
export function edgeOtlp({ url, headers = {}, serviceVersion, onError, fetch = globalThis.fetch }: EdgeOtlpOptions) {
  let waiting: object[] = [];
  const collect: SpanExporter = (spans, { traceId, state }) => {
    if (waiting.length >= maxWaiting) return;
    for (const span of spans)
      waiting.push({ ...encode(span), traceId, ...(state !== undefined && { traceState: state }) });
  };
  return {
    export: collect,
    async flush(): Promise<void> {
      if (waiting.length === 0) return;
      const spans = waiting;
      waiting = [];
      const resource = {
        attributes: encodeAttributes({ 'service.name': 'tidegate', 'service.version': serviceVersion }),
      };
      const scopeSpans = [{ scope: { name: 'tidegate', version: serviceVersion }, spans }];
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] }),
          redirect: 'manual',
          signal: AbortSignal.timeout(timeoutMs),
        });
        await response.body?.cancel();
        if (!response.ok) throw new Error(`the collector answered ${response.status}`);
      } catch (error) {
        onError(error);
      }
    },
  };
}

const encode = ({ name, kind, spanId, parentSpanId, startMs, endMs, attributes, events, error }: SpanData) => ({
  name,
  kind: kinds[kind],
  spanId,
  ...(parentSpanId !== undefined && { parentSpanId }),
  startTimeUnixNano: nanoseconds(startMs),
  endTimeUnixNano: nanoseconds(endMs),
  attributes: encodeAttributes(attributes),
  events: events.map(({ name, atMs }) => ({ name, timeUnixNano: nanoseconds(atMs) })),
  status: error === undefined ? {} : { code: 2, message: error },
});

/** Beyond what a double holds exactly, hence text; microseconds are all that clocks give. */
const nanoseconds = (ms: number): string => `${Math.round(ms * 1000)}000`;

const encodeAttributes = (attributes: Readonly<Record<string, AttributeValue>>) =>
  Object.entries(attributes).map(([key, value]) => ({ key, value: encodeValue(value) }));

function encodeValue(value: AttributeValue): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  return { arrayValue: { values: value.map(encodeValue) } };
}
