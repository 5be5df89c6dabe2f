import type { GatewayError } from '../../core/errors.ts';

/** Anthropic's envelope; the type follows the status. */
export function encodeMessageError(error: GatewayError, requestId: string) {
  const param = error.param === null || error.message.includes(error.param) ? '' : `${error.param}: `;
  const message = `${param}${error.message}`;
  // By these words Claude Code and others know that the conversation is to be compacted.
  const isTooLong = error.kind === 'context_length_exceeded' && !/prompt is too long/i.test(message);
  return {
    type: 'error',
    error: { type: errorType(error), message: isTooLong ? `prompt is too long: ${message}` : message },
    request_id: requestId,
  };
}

function errorType({ kind, status }: GatewayError): string {
  if (kind === 'budget_exceeded') return 'billing_error';
  if (kind === 'overloaded' || status === 503) return 'overloaded_error';
  switch (status) {
    case 401:
      return 'authentication_error';
    case 403:
      return 'permission_error';
    case 404:
      return 'not_found_error';
    case 413:
      return 'request_too_large';
    case 429:
      return 'rate_limit_error';
    case 504:
      return 'timeout_error';
    default:
      return status < 500 ? 'invalid_request_error' : 'api_error';
  }
}
