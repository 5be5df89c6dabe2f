import type { LoadOptions } from './load-options.ts';
import { cellBytes } from './memory.ts';

/** A GGUF's metadata as node-llama-cpp reads it; only the fields named below matter. */
export interface FileMetadata {
  readonly metadata: { readonly tokenizer?: object };
  readonly architectureMetadata: unknown;
}

const rankPooling = 4;

/** Bytes that one token takes in the KV cache, with the cell types of `options`. */
export function kvBytesOf(file: FileMetadata, options: LoadOptions): number {
  // Only these fields of the architecture's metadata matter; each may be a list with one number a layer.
  const { architectureMetadata: arch = {} } = file as {
    architectureMetadata?: {
      block_count?: number;
      embedding_length?: number;
      attention?: { head_count?: unknown; head_count_kv?: unknown; key_length?: number; value_length?: number };
    };
  };
  const layers = arch.block_count ?? 0;
  const mean = (value: unknown, otherwise: number): number => {
    if (typeof value === 'number') return value;
    if (!Array.isArray(value) || value.length === 0) return otherwise;
    return value.reduce((sum: number, item: unknown) => sum + Number(item), 0) / value.length;
  };
  const heads = mean(arch.attention?.head_count, 1);
  const kvHeads = mean(arch.attention?.head_count_kv, heads);
  const headLength = (arch.embedding_length ?? 0) / Math.max(1, heads);
  const keyBytes = (arch.attention?.key_length ?? headLength) * (cellBytes[options.kvCacheKeyType ?? 'f16'] ?? 2);
  const valueBytes = (arch.attention?.value_length ?? headLength) * (cellBytes[options.kvCacheValueType ?? 'f16'] ?? 2);
  return Math.round(layers * kvHeads * (keyBytes + valueBytes));
}

/** A reranker gives scores; other models of vectors pool them otherwise. */
export function isRanking({ architectureMetadata }: FileMetadata): boolean {
  return (architectureMetadata as { readonly pooling_type?: unknown } | undefined)?.pooling_type === rankPooling;
}

/** The GGUF's own chat templates in Jinja: the plain one and, where it has one, that for tools. */
export function templatesOf({ metadata }: FileMetadata): { chat: string | undefined; tools: string | undefined } {
  const tokenizer = metadata.tokenizer as Record<string, unknown> | undefined;
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return { chat: text(tokenizer?.['chat_template']), tools: text(tokenizer?.['chat_template.tool_use']) };
}
