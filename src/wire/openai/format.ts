import type { AnswerMeta, WireFormat } from '../format.ts';
import { sseHeaders, ssePing } from '../sse.ts';
import { decodeChatRequest } from './decode.ts';
import { type ChatAnswer, createChatEncoder, encodeChatCompletion } from './encode.ts';
import { encodeError } from './errors.ts';

/** `POST /v1/chat/completions`. */
export const openaiChat: WireFormat = {
  dialect: 'openai-chat',
  streamType: sseHeaders['content-type'],
  ping: ssePing,
  decode: decodeChatRequest,
  encodeStream: (meta) => createChatEncoder(chatAnswer(meta)),
  encodeWhole: (collected, meta) => encodeChatCompletion(collected, chatAnswer(meta)),
  encodeError,
};

function chatAnswer({ id, createdAt, request }: AnswerMeta): ChatAnswer {
  return {
    id: `chatcmpl-${id}`,
    created: createdAt,
    model: request.model,
    ...(request.serviceTier === undefined ? {} : { serviceTier: 'default' }),
    ...request.answer,
  };
}
