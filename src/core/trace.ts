import { randomHex } from './clock.ts';

/** W3C trace context of one request: whose trace it belongs to, and the id of its own first span. */
export interface TraceContext {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits: the request's root span. */
  readonly spanId: string;
  /** The client's span, where it sent a valid `traceparent`. */
  readonly parentSpanId?: string;
  readonly sampled: boolean;
  /** `tracestate` as it came. */
  readonly state?: string;
}

/** `traceparent` of W3C Trace Context level 1; later versions may append fields, which are ignored. */
const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;

/** Goes on with the client's trace, or begins one. `ratio` of the new traces are sampled; a client's own decision holds. */
export function beginTrace(headers: Readonly<Record<string, string>>, ratio = 1): TraceContext {
  const theirs = headers['traceparent'];
  const [, traceId, parentSpanId, flags] = (theirs !== undefined && traceparent.exec(theirs)) || [];
  if (!traceId || !parentSpanId) {
    return { traceId: randomHex(16), spanId: randomHex(8), sampled: ratio >= 1 || Math.random() < ratio };
  }
  const state = headers['tracestate'];
  return {
    traceId,
    spanId: randomHex(8),
    parentSpanId,
    sampled: (Number.parseInt(flags ?? '0', 16) & 1) === 1,
    ...(state !== undefined && state.length <= 512 && { state }),
  };
}

const hexDigits = '0123456789abcdef';

/**
 * Span id of the request's call number `attempt` (from 0). Made from the root's id, so that who sends the call and who
 * writes the trace agree without telling each other.
 */
export function attemptSpanId({ spanId }: TraceContext, attempt: number): string {
  if (attempt < 15) {
    const last = hexDigits.indexOf(spanId.charAt(15)) ^ (attempt + 1); // nearly always only the last digit differs
    return spanId.slice(0, 15) + hexDigits.charAt(last);
  }
  const low = (Number.parseInt(spanId.slice(8), 16) ^ (attempt + 1)) >>> 0;
  return spanId.slice(0, 8) + low.toString(16).padStart(8, '0');
}

/** By these a request brings a key or an address of its own for its upstream; providers judge whether it may. */
export const ownCredentials = ['x-tidegate-upstream-key', 'x-tidegate-upstream-url'] as const;

/** Headers that an upstream gets with call number `attempt`, so that its spans hang below ours. */
export function upstreamHeaders(
  {
    requestId,
    trace,
    headers = {},
  }: {
    readonly requestId: string;
    readonly trace?: TraceContext;
    readonly headers?: Readonly<Record<string, string>>;
  },
  attempt: number,
): Record<string, string> {
  const sent: Record<string, string> = { 'x-request-id': requestId };
  if (trace) {
    sent['traceparent'] = `00-${trace.traceId}-${attemptSpanId(trace, attempt)}-${trace.sampled ? '01' : '00'}`;
    if (trace.state !== undefined) sent['tracestate'] = trace.state;
  }
  for (const name of ownCredentials) {
    const value = headers[name];
    if (value !== undefined) sent[name] = value;
  }
  return sent;
}
