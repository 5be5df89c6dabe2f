import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';

const timeouts = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
]);

/** Codes that say nothing was sent: no address, nobody listens, no trust. */
const neverConnected =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ENETDOWN)$|CERT|TLS|SSL/;

/** Codes of this machine, not of the peer: no file descriptor or memory is left for a connection. */
const noRoomHere = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);
const noRoomRetryMs = 1000;

/**
 * A transport failure as one of our kinds. `phase` tells whether the head of the answer had come: a connection lost
 * before it may be tried again elsewhere, a reset within the body is an answer that failed.
 */
export function transportError(error: unknown, phase: 'head' | 'body', signal: AbortSignal): GatewayError {
  if (error instanceof GatewayError) return error;
  if (signal.aborted) return abortError(signal);
  const code = codeOf(error);
  if (timeouts.has(code)) {
    return new GatewayError('timeout', `The upstream could not be reached in time (${code}).`, { cause: error });
  }
  if (phase === 'body') {
    return new GatewayError('upstream_failed', 'The upstream closed the connection in the middle of its answer.', {
      cause: error,
    });
  }
  if (noRoomHere.has(code)) {
    return new GatewayError('overloaded', `The gateway has no room for another connection now (${code}).`, {
      retryAfterMs: noRoomRetryMs,
      cause: error,
    });
  }
  if (neverConnected.test(code)) {
    return new GatewayError('upstream_unreachable', `The upstream cannot be reached (${code}).`, { cause: error });
  }
  // undici's parser does not always tell its code
  if (code.startsWith('HPE_') || (error instanceof Error && error.name === 'HTTPParserError')) {
    return new GatewayError('upstream_failed', 'The upstream answered with something that is not HTTP.', {
      cause: error,
    });
  }
  return new GatewayError('upstream_unreachable', 'The upstream closed the connection before it answered.', {
    cause: error,
  });
}

/** An upstream whose body does not end. */
export const answerTooLarge = (maxBytes: number): GatewayError =>
  new GatewayError('upstream_failed', `The upstream’s answer is larger than ${maxBytes} bytes.`);

/** The first error code in the chain of causes (fetch and happy eyeballs wrap theirs), or an empty string. */
function codeOf(error: unknown): string {
  let current = error;
  for (let depth = 0; depth < 4 && current instanceof Error; depth++) {
    if ('code' in current && typeof current.code === 'string') return current.code;
    current = current instanceof AggregateError ? (current.errors[0] ?? current.cause) : current.cause;
  }
  return '';
}
