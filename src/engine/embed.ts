import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { EmbedResult, RerankScores } from './protocol.ts';
import type { Runner } from './runner.ts';
import { checkTokens, PromptError } from './tokenize.ts';

/**
 * Vectors and scores of texts, from a second context of the same model; its steps go between the streams' own. One text
 * a pass: the binding gives the pooled vector of sequence 0 and of no other (AddonContext::GetEmbedding), so several
 * sequences in one batch could not be told apart. Equal texts of a call are read once.
 */
export interface Embedder {
  embed(inputs: readonly (string | readonly number[])[]): Promise<EmbedResult>;
  rerank(query: string, documents: readonly string[]): Promise<RerankScores>;
}

const maxContextTokens = 2048;

export function createEmbedder(model: LlamaModel, runner: Runner): Embedder {
  let context: Promise<LlamaContext> | undefined;
  const contextTokens = Math.min(model.info.trainContextTokens, maxContextTokens);

  function open(): Promise<LlamaContext> {
    context ??= runner.between(() =>
      model.createContext({
        sequences: 1,
        contextTokens,
        batchTokens: contextTokens, // a text is read in one pass: pooling needs all of it
        embeddings: true,
        ranking: model.info.ranking,
      }),
    );
    context.catch(() => {
      context = undefined; // there may be memory for it later
    });
    return context;
  }

  const wrap = (tokens: readonly number[]): number[] => [
    ...(model.addsBos && model.bosToken !== undefined && tokens[0] !== model.bosToken ? [model.bosToken] : []),
    ...tokens,
    ...(model.addsEos && model.eosToken !== undefined ? [model.eosToken] : []),
  ];

  async function evaluate(tokens: readonly number[], param: string): Promise<Float64Array> {
    if (tokens.length === 0) throw new PromptError('The input is empty.', param);
    checkTokens(tokens, model.info.vocabularySize, param);
    if (tokens.length > contextTokens) {
      throw new PromptError(`The input has ${tokens.length} tokens; at most ${contextTokens} can be embedded.`, param);
    }
    const opened = await open();
    return runner.between(async () => {
      opened.begin(tokens.length);
      opened.add(0, 0, Uint32Array.from(tokens), Uint32Array.of(tokens.length - 1));
      await opened.decode();
      const values = opened.embedding(tokens.length);
      opened.truncate(0, 0);
      return values;
    });
  }

  /** Equal lists of tokens are evaluated once. */
  function once(): typeof evaluate {
    const known = new Map<string, Promise<Float64Array>>();
    return (tokens, param) => {
      const key = tokens.join();
      const values = known.get(key) ?? evaluate(tokens, param);
      known.set(key, values);
      return values;
    };
  }

  async function embedAs(
    inputs: readonly (string | readonly number[])[],
    fieldOf: (i: number) => string,
  ): Promise<EmbedResult> {
    if (model.info.ranking) throw new PromptError('This model ranks; it makes no embeddings.', 'model');
    const vectors: string[] = [];
    const evaluateOnce = once();
    let promptTokens = 0;
    for (const [i, input] of inputs.entries()) {
      const tokens = typeof input === 'string' ? wrap([...model.tokenize(input, false)]) : input;
      promptTokens += tokens.length;
      vectors.push(toBase64(unit(await evaluateOnce(tokens, fieldOf(i)))));
    }
    return { vectors, promptTokens };
  }

  return {
    embed: (inputs) => embedAs(inputs, (i) => (inputs.length > 1 ? `input[${i}]` : 'input')),
    async rerank(query, documents) {
      if (!model.info.ranking) {
        // No reranker: nearness of the embeddings, from 0 (opposite) to 1 (the same).
        if (query === '') throw new PromptError('The query is empty.', 'query');
        const texts = documents.filter((document) => document !== '');
        const { vectors, promptTokens } = await embedAs([query, ...texts], (i) =>
          i === 0 ? 'query' : `documents[${documents.indexOf(texts[i - 1] ?? '')}]`,
        );
        const [asked, ...others] = vectors.map(fromBase64);
        const near = new Map(texts.map((text, i) => [text, others[i]]));
        const scoreOf = (vector: Float32Array | undefined) =>
          vector === undefined ? 0 : (1 + dot(asked ?? vector, vector)) / 2; // an empty text is near to nothing
        return { scores: documents.map((document) => scoreOf(near.get(document))), promptTokens };
      }
      const { bosToken, eosToken, separatorToken } = model;
      const only = (token: number | undefined) => (token === undefined ? [] : [token]);
      const scores: number[] = [];
      const evaluateOnce = once();
      let promptTokens = 0;
      for (const [i, document] of documents.entries()) {
        const tokens = [
          ...only(bosToken),
          ...model.tokenize(query, false),
          ...only(eosToken),
          ...only(separatorToken),
          ...model.tokenize(document, false),
          ...only(eosToken),
        ];
        promptTokens += tokens.length;
        const [logit = 0] = await evaluateOnce(tokens, `documents[${i}]`);
        scores.push(1 / (1 + Math.exp(-logit)));
      }
      return { scores, promptTokens };
    },
  };
}

function unit(values: Float64Array): Float32Array {
  const length = Math.hypot(...values) || 1;
  return Float32Array.from(values, (value) => value / length);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

const toBase64 = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');

/** Little-endian float32, as the child sends vectors. */
export function fromBase64(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
