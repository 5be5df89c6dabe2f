import { GatewayError } from '../core/errors.ts';
import type { EngineError } from './protocol.ts';

/** What the child says went wrong, as the gateway's error. */
export function toGatewayError({ kind, message, param, retryAfterMs }: EngineError): GatewayError {
  return new GatewayError(kind, message, { param, retryAfterMs });
}
