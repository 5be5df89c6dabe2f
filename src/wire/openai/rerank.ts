import * as z from 'zod';
import { once } from '../../core/once.ts';
import type { RerankRequest, RerankResult } from '../../core/provider.ts';
import { extensionsOf } from '../request-fields.ts';
import { parseBody } from '../validate.ts';

/** Jina's and Cohere's form, which vLLM and llama-server serve too. */
export const rerankRequestSchema = once(() =>
  z.looseObject({
    model: z.string().min(1),
    query: z.string().min(1),
    documents: z
      .array(z.union([z.string(), z.looseObject({ text: z.string() })]))
      .min(1)
      .max(2048),
    top_n: z.number().int().min(1).nullish(),
    return_documents: z.boolean().nullish(),
  }),
);

const modelled = new Set(['model', 'query', 'documents', 'top_n', 'return_documents']);

/** A request in the form that Cohere and Jina share. Throws invalid_request that names the field. */
export function decodeRerankRequest(body: unknown): { request: RerankRequest; returnDocuments: boolean } {
  const { model, query, documents, top_n, return_documents } = parseBody(rerankRequestSchema(), body);
  return {
    request: {
      model,
      query,
      documents: documents.map((one) => (typeof one === 'string' ? one : one.text)),
      ...(top_n == null ? {} : { topN: top_n }),
      extensions: extensionsOf(body, modelled),
    },
    returnDocuments: return_documents ?? false,
  };
}

/** The answer, best document first; documents themselves only where asked for. */
export function encodeRerank(result: RerankResult, request: RerankRequest, id: string, returnDocuments: boolean) {
  const results = result.results.slice(0, request.topN ?? request.documents.length);
  return {
    id: `rerank-${id}`,
    object: 'list',
    model: request.model,
    results: results.map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...(returnDocuments ? { document: { text: request.documents[index] ?? '' } } : {}),
    })),
    usage: { prompt_tokens: result.usage.promptTokens, total_tokens: result.usage.promptTokens },
  };
}
