import { decodeCountTokens } from '../../wire/anthropic/decode.ts';
import { encodeMessageError } from '../../wire/anthropic/errors.ts';
import { anthropicMessages } from '../../wire/anthropic/format.ts';
import type { HttpDeps } from '../env.ts';
import { generation } from '../generation.ts';
import { jsonRoute } from '../json.ts';
import { countPromptTokens } from './whole-calls.ts';

/** `POST /v1/messages` */
export const messages = (deps: HttpDeps) => generation(deps, anthropicMessages);

/** `POST /v1/messages/count_tokens`: what `/v1/messages` would bill. */
export const countMessageTokens = (deps: HttpDeps) =>
  jsonRoute(
    deps,
    async (body, { context, json }) => {
      const request = decodeCountTokens(body, { headers: context.headers });
      json({ input_tokens: await countPromptTokens(deps, request, context) });
    },
    encodeMessageError,
  );
