import type { GatewayError } from '../../core/errors.ts';

/** OpenAI's envelope; all four keys are always there and `code` is a string or null. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** OpenAI’s error envelope. */
export function encodeError(error: GatewayError): ErrorBody {
  return { error: { message: error.message, type: error.type, param: error.param, code: error.code } };
}

/**
 * What tells an SDK whether and when to try again: `retry-after` (whole seconds) and `retry-after-ms` on every 429 and
 * 503, `x-should-retry: false` where trying again can't help although the status alone would suggest it.
 */
export function errorHeaders(error: GatewayError): Record<string, string> {
  const headers: Record<string, string> = { ...error.headers };
  if (error.kind === 'unauthorized') headers['www-authenticate'] = 'Bearer';
  const pointless =
    ['budget_exceeded', 'internal', 'cancelled', 'upstream_unauthorized'].includes(error.kind) ||
    (error.kind === 'conflict' && error.retryAfterMs === undefined) ||
    error.code === 'request_too_large' ||
    error.code === 'insufficient_quota'; // an upstream's: nobody pays its bill within a retry
  if (pointless) headers['x-should-retry'] = 'false';
  const waits = error.status === 429 || error.status === 503;
  const waitMs = error.retryAfterMs ?? (waits && !pointless ? 1000 : undefined);
  if (waitMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(waitMs / 1000)));
    headers['retry-after-ms'] = String(Math.max(0, Math.ceil(waitMs)));
  }
  return headers;
}
