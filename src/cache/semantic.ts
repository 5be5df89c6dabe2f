import { LRUCache } from 'lru-cache';
import { type ChatRequest, textOf } from '../core/request.ts';
import { canonicalRequest } from './key.ts';

/** Makes the vector of a text, of unit length or not. */
export type Embed = (text: string, signal: AbortSignal) => Promise<readonly number[] | Float32Array>;

export interface SemanticIndex {
  /** The stored answer's key whose question is nearest in meaning, where it is near enough; and what to remember by. */
  find(
    question: SemanticQuestion,
    threshold: number,
    signal: AbortSignal,
  ): Promise<{ readonly key?: string; readonly similarity?: number; readonly vector: Float32Array }>;
  remember(question: SemanticQuestion, vector: Float32Array, key: string): void;
}

/** A request split into the text whose wording may differ and all that must be equal: who asks, the turns before, the sampling. */
export interface SemanticQuestion {
  readonly text: string;
  readonly rest: string;
}

/**
 * The last user message is what may be worded otherwise. Undefined where a request is no plain question: images, tools'
 * results and raw prompts are matched exactly or not at all.
 */
export function semanticQuestion(request: ChatRequest, scope: string): SemanticQuestion | undefined {
  const last = request.messages.at(-1);
  if (request.prompt || last?.role !== 'user' || last.content.some(({ type }) => type !== 'text')) return undefined;
  const text = textOf(last.content);
  if (text.length === 0 || text.length > 8000) return undefined;
  const without = { ...request, messages: [...request.messages.slice(0, -1), { ...last, content: [] }] };
  return { text, rest: `${scope} ${canonicalRequest(without)}` };
}

interface Remembered {
  readonly key: string;
  readonly vector: Float32Array;
}

const maxPerGroup = 1000;

/**
 * Vectors in memory, by what must be equal. The oldest of a group leave first, and the groups that nobody asked for longest:
 * what must be equal may be a whole conversation. Exhaustive search.
 */
export function createSemanticIndex({
  embed,
  maxBytes = 64 * 1024 * 1024,
}: {
  readonly embed: Embed;
  readonly maxBytes?: number;
}): SemanticIndex {
  const groups = new LRUCache<string, Remembered[]>({
    maxSize: maxBytes,
    sizeCalculation: (group, rest) =>
      group.reduce((sum, { vector, key }) => sum + vector.byteLength + 2 * key.length, 2 * rest.length),
  });
  return {
    async find({ text, rest }, threshold, signal) {
      const vector = unit(await embed(text, signal));
      let best: Remembered | undefined;
      let similarity = -1;
      for (const candidate of groups.get(rest) ?? []) {
        const near = dot(vector, candidate.vector);
        if (near > similarity) [best, similarity] = [candidate, near];
      }
      return best && similarity >= threshold ? { key: best.key, similarity, vector } : { vector };
    },
    remember({ rest }, vector, key) {
      const others = groups.get(rest)?.filter((one) => one.key !== key) ?? [];
      groups.set(rest, [...others.slice(1 - maxPerGroup), { key, vector }]);
    },
  };
}

function unit(vector: readonly number[] | Float32Array): Float32Array {
  const copy = Float32Array.from(vector);
  const length = Math.sqrt(dot(copy, copy)) || 1;
  return copy.map((value) => value / length);
}

function dot(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return -1; // another embedding model's
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
