import type { Attempt, Decision } from './run.ts';

/**
 * Everything that can go wrong on a request's way, by kind. `retryable`: the same request to the same or the next
 * target may succeed. `blame`: whose fault it is; only `upstream` counts against a target's circuit breaker.
 */
const table = {
  invalid_request: { status: 400, type: 'invalid_request_error', code: null, retryable: false, blame: 'client' },
  context_length_exceeded: {
    status: 400,
    type: 'invalid_request_error',
    code: 'context_length_exceeded',
    retryable: false,
    blame: 'client',
  },
  unsupported: {
    status: 400,
    type: 'invalid_request_error',
    code: 'unsupported_value',
    retryable: false,
    blame: 'client',
  },
  content_blocked: {
    status: 400,
    type: 'invalid_request_error',
    code: 'content_policy_violation',
    retryable: false,
    blame: 'client',
  },
  unauthorized: {
    status: 401,
    type: 'invalid_request_error',
    code: 'invalid_api_key',
    retryable: false,
    blame: 'client',
  },
  budget_exceeded: {
    status: 429,
    type: 'insufficient_quota',
    code: 'insufficient_quota',
    retryable: false,
    blame: 'client',
  },
  forbidden: {
    status: 403,
    type: 'invalid_request_error',
    code: 'permission_denied',
    retryable: false,
    blame: 'client',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    code: 'model_not_found',
    retryable: false,
    blame: 'client',
  },
  not_found: { status: 404, type: 'invalid_request_error', code: 'not_found', retryable: false, blame: 'client' },
  method_not_allowed: {
    status: 405,
    type: 'invalid_request_error',
    code: 'method_not_allowed',
    retryable: false,
    blame: 'client',
  },
  conflict: { status: 409, type: 'invalid_request_error', code: 'conflict', retryable: false, blame: 'client' },
  payload_too_large: {
    status: 413,
    type: 'invalid_request_error',
    code: 'request_too_large',
    retryable: false,
    blame: 'client',
  },
  unsupported_media_type: {
    status: 415,
    type: 'invalid_request_error',
    code: 'unsupported_media_type',
    retryable: false,
    blame: 'client',
  },
  rate_limited: { status: 429, type: 'requests', code: 'rate_limit_exceeded', retryable: false, blame: 'client' },
  /** We or the engine have no room; `retryAfterMs` says when. */
  overloaded: { status: 429, type: 'server_error', code: 'overloaded', retryable: true, blame: 'none' },
  /** The client left. Nobody reads the answer; no retry, no breaker count. */
  cancelled: { status: 499, type: 'invalid_request_error', code: 'cancelled', retryable: false, blame: 'client' },
  /** An upstream's own refusal of the request (4xx), handed on with its words. */
  upstream_rejected: { status: 400, type: 'invalid_request_error', code: null, retryable: false, blame: 'client' },
  /** Our credentials at the upstream are wrong: not the client's fault, and another target may work. */
  upstream_unauthorized: {
    status: 502,
    type: 'server_error',
    code: 'upstream_unauthorized',
    retryable: true,
    blame: 'upstream',
  },
  upstream_rate_limited: {
    status: 429,
    type: 'requests',
    code: 'rate_limit_exceeded',
    retryable: true,
    blame: 'upstream',
  },
  upstream_failed: { status: 502, type: 'server_error', code: 'upstream_error', retryable: true, blame: 'upstream' },
  upstream_unreachable: {
    status: 502,
    type: 'server_error',
    code: 'upstream_unreachable',
    retryable: true,
    blame: 'upstream',
  },
  /** A deadline of ours passed: connect, first token, idle or total. */
  timeout: { status: 504, type: 'server_error', code: 'timeout', retryable: true, blame: 'upstream' },
  engine_failed: { status: 502, type: 'server_error', code: 'engine_failed', retryable: true, blame: 'upstream' },
  model_unavailable: {
    status: 503,
    type: 'server_error',
    code: 'model_unavailable',
    retryable: true,
    blame: 'upstream',
  },
  /** Every target failed or is switched off; shutting down; ledger lost. */
  unavailable: { status: 503, type: 'server_error', code: 'unavailable', retryable: true, blame: 'none' },
  internal: { status: 500, type: 'server_error', code: 'internal_error', retryable: false, blame: 'none' },
} as const satisfies Record<string, ErrorTraits>;

interface ErrorTraits {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly retryable: boolean;
  readonly blame: 'client' | 'upstream' | 'none';
}

export type ErrorKind = keyof typeof table;

/** Whether what a request came to, as its record tells it, is its client's own fault. */
export const isClientFault = (outcome: string): boolean =>
  Object.hasOwn(table, outcome) && table[outcome as ErrorKind].blame === 'client'; // its own key

export interface ErrorDetails {
  readonly cause?: unknown;
  /** The request field at fault, as a path in the client's body: `messages[0].content`. */
  readonly param?: string | undefined;
  /** A narrower code than the kind's own (`missing_required_parameter`, an upstream's own). */
  readonly code?: string | undefined;
  /** When trying again makes sense, from now. */
  readonly retryAfterMs?: number | undefined;
  /** Status an upstream answered, handed on where it is a client error. */
  readonly status?: number | undefined;
  /** Response headers that belong to the refusal (`x-ratelimit-…`), lower-case. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The OpenAI `type` where it differs from the kind's own. */
  readonly type?: string | undefined;
  /** The calls that failed before this was thrown, and what stages decided, for the request's record. */
  readonly attempts?: readonly Attempt[] | undefined;
  readonly decisions?: readonly Decision[] | undefined;
}

/** The one error of the gateway. `message` tells the caller what to change and never holds a key, a prompt or an answer. */
export class GatewayError extends Error {
  readonly kind: ErrorKind;
  readonly param: string | null;
  readonly code: string | null;
  readonly status: number;
  readonly type: string;
  readonly retryAfterMs: number | undefined;
  readonly attempts: readonly Attempt[];
  readonly decisions: readonly Decision[];
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'GatewayError';
    this.kind = kind;
    this.param = details.param ?? null;
    this.code = details.code ?? table[kind].code;
    this.status = details.status ?? table[kind].status;
    this.type = details.type ?? table[kind].type;
    this.retryAfterMs = details.retryAfterMs;
    this.attempts = details.attempts ?? [];
    this.decisions = details.decisions ?? [];
    this.headers = details.headers;
  }

  get retryable(): boolean {
    return table[this.kind].retryable;
  }
  get blame(): ErrorTraits['blame'] {
    return table[this.kind].blame;
  }
}

/** Any thrown value as a GatewayError: ours unchanged, an abort as `cancelled` or `timeout`, all else as `internal`. */
export function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new GatewayError('timeout', 'The request took longer than its time limit.', { cause: error });
  }
  if (error instanceof Error && error.name === 'AbortError') {
    return new GatewayError('cancelled', 'The client closed the request.', { cause: error });
  }
  return new GatewayError('internal', 'The gateway failed to handle this request.', { cause: error });
}
