import type { GatewayError } from '../../core/errors.ts';

export const encodeOllamaError = (error: GatewayError) => ({ error: error.message });
