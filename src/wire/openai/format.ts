import type { JsonObject } from '../../core/json.ts';
import { isJsonObject } from '../../core/json.ts';
import type { ChatRequest } from '../../core/request.ts';
import type { AnswerMeta, RequestSource, WireFormat } from '../format.ts';
import { decodeResponseRequest } from '../responses/decode.ts';
import { sseHeaders, ssePing } from '../sse.ts';
import { decodeChatRequest } from './decode.ts';
import { type ChatAnswer, createChatEncoder, encodeChatCompletion } from './encode.ts';
import { encodeError } from './errors.ts';

/** `POST /v1/chat/completions`. */
export const openaiChat: WireFormat = {
  dialect: 'openai-chat',
  streamType: sseHeaders['content-type'],
  ping: ssePing,
  decode: (body, source) =>
    body['messages'] == null && body['input'] != null
      ? decodeResponseShaped(body, source)
      : decodeChatRequest(body, source),
  encodeStream: (meta) => createChatEncoder(chatAnswer(meta)),
  encodeWhole: (collected, meta) => encodeChatCompletion(collected, chatAnswer(meta)),
  encodeError,
};

/** Some editors send a body for responses here (`input`, flat tools) and want a chat answer. */
function decodeResponseShaped(body: JsonObject, source: RequestSource): ChatRequest {
  const limit = body['max_output_tokens'] ?? body['max_completion_tokens'] ?? body['max_tokens'];
  const { wire: _, ...request } = decodeResponseRequest(
    { store: false, ...body, max_output_tokens: limit ?? null },
    source,
  );
  const options = body['stream_options'];
  return {
    ...request,
    dialect: 'openai-chat',
    extensions: {},
    answer: { includeUsage: isJsonObject(options) && options['include_usage'] === true },
  };
}

function chatAnswer({ id, createdAt, request }: AnswerMeta): ChatAnswer {
  return {
    id: `chatcmpl-${id}`,
    created: createdAt,
    model: request.model,
    ...(request.serviceTier === undefined ? {} : { serviceTier: 'default' }),
    ...request.answer,
  };
}
