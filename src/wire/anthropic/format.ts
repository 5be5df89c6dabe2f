import type { AnswerMeta, WireFormat } from '../format.ts';
import { encodeNamedSse, sseHeaders } from '../sse.ts';
import { decodeMessagesRequest } from './decode.ts';
import { createMessageEncoder, encodeMessage, type MessageAnswer } from './encode.ts';
import { encodeMessageError } from './errors.ts';

/** `POST /v1/messages`. */
export const anthropicMessages: WireFormat = {
  dialect: 'anthropic-messages',
  streamType: sseHeaders['content-type'],
  ping: encodeNamedSse('ping', '{"type":"ping"}'),
  decode: decodeMessagesRequest,
  encodeStream: (meta) => createMessageEncoder(messageAnswer(meta)),
  encodeWhole: (collected, meta) => encodeMessage(collected, messageAnswer(meta)),
  encodeError: encodeMessageError,
};

const messageAnswer = ({ id, requestId, request }: AnswerMeta): MessageAnswer => ({
  id: `msg_${id}`,
  model: request.model,
  requestId,
});
