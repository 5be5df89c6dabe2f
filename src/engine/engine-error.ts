import { GatewayError } from '../core/errors.ts';
import type { EngineError } from './protocol.ts';

/** What the child says went wrong, as the gateway's error. */
export function toGatewayError({ kind, message, param, retryAfterMs }: EngineError): GatewayError {
  return new GatewayError(kind, withoutFolders(message), { param, retryAfterMs });
}

/** A reason for callers: a file is told by its name, as where it lies on this machine is not theirs to know. */
export function withoutFolders(text: string): string {
  return text.replace(/(?<![^\s"'(])(?:~|\.{1,2}|[A-Za-z]:)?[\\/](?:[^\s"'()]*[\\/])?(?=[^\s\\/])/g, '');
}
