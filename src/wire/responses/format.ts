import type { AnswerMeta, WireFormat } from '../format.ts';
import { encodeError } from '../openai/errors.ts';
import { sseHeaders, ssePing } from '../sse.ts';
import { decodeResponseRequest } from './decode.ts';
import { createResponseEncoder, type ResponseAnswer } from './encode.ts';
import { encodeResponse } from './whole.ts';

/** `POST /v1/responses`, without what it keeps between requests. */
export const openaiResponses: WireFormat = {
  dialect: 'openai-responses',
  streamType: sseHeaders['content-type'],
  ping: ssePing,
  decode: decodeResponseRequest,
  encodeStream: (meta) => createResponseEncoder(responseAnswer(meta)),
  encodeWhole: (collected, meta) => encodeResponse(collected, responseAnswer(meta)),
  encodeError,
};

/** What the encoder needs to know of an answer besides its events. */
export function responseAnswer({
  id,
  createdAt,
  request,
}: Pick<AnswerMeta, 'id' | 'createdAt' | 'request'>): ResponseAnswer {
  const { echo, namespaces, summarise } = request.answer ?? {};
  return {
    id: `resp_${id}`,
    createdAt,
    model: request.model,
    // written by decodeResponseRequest
    echo: (echo ?? {}) as ResponseAnswer['echo'],
    namespaces: (namespaces ?? {}) as ResponseAnswer['echo'],
    summarise: summarise === true,
  };
}
