import { GatewayError } from '../core/errors.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Route } from '../core/route.ts';

/** Prompts of the library rendered into requests. */
export interface Prompts {
  /** The request with its template's messages in front. Throws invalid_request that names a missing or wrong variable. */
  render(request: ChatRequest, route: Route): ChatRequest;
}

/** No library: a request that names a prompt is refused. */
export const noPrompts: Prompts = {
  render(request) {
    if (request.promptTemplate) {
      throw new GatewayError('invalid_request', `There is no prompt '${request.promptTemplate.id}'.`, {
        param: 'prompt.id',
      });
    }
    return request;
  },
};
