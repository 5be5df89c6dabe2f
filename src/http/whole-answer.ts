import { nowSeconds, randomId } from '../core/clock.ts';
import type { JsonObject } from '../core/json.ts';
import type { ChatRequest } from '../core/request.ts';
import { readable } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import { collect } from '../core/streams.ts';
import type { BatchEndpoint } from '../wire/openai/batches.ts';
import { decodeCompletionRequests, encodeCompletion } from '../wire/openai/completions.ts';
import { decodeEmbeddingRequest, encodeEmbeddings } from '../wire/openai/embeddings.ts';
import { openaiChat } from '../wire/openai/format.ts';
import { openaiResponses } from '../wire/responses/format.ts';
import type { HttpDeps } from './env.ts';
import { embedding } from './routes/whole-calls.ts';

/** The answer to one request body as a value, at batch priority: the same decode, gateway and encode as over HTTP. */
export async function wholeAnswer(
  deps: HttpDeps,
  endpoint: BatchEndpoint,
  body: JsonObject,
  context: RequestContext,
): Promise<object> {
  const source = { headers: { 'x-tidegate-priority': 'batch' } };
  const meta = { id: randomId(''), requestId: context.requestId, createdAt: nowSeconds(), target: '' };
  const answerOf = async (request: ChatRequest) => {
    const run = await deps.gateway.stream({ ...readable(request), stream: false }, context);
    return collect(run.events);
  };
  switch (endpoint) {
    case '/v1/chat/completions': {
      const request = openaiChat.decode(body, source);
      return openaiChat.encodeWhole(await answerOf(request), { ...meta, request });
    }
    case '/v1/responses': {
      const request = openaiResponses.decode(body, source);
      return openaiResponses.encodeWhole(await answerOf(request), { ...meta, request });
    }
    case '/v1/completions': {
      const requests = decodeCompletionRequests(body, source);
      const answers = [];
      for (const request of requests) answers.push(await answerOf(request));
      const [first] = requests;
      return first ? encodeCompletion(answers, { ...meta, request: first }) : {};
    }
    case '/v1/embeddings': {
      const { request, encoding } = decodeEmbeddingRequest(body);
      const { value } = await deps.gateway.call(
        {
          model: request.model,
          ...embedding(request),
          spent: (result) => result.usage.promptTokens,
        },
        context,
      );
      return encodeEmbeddings(value, request.model, encoding);
    }
    default:
      return endpoint satisfies never;
  }
}
