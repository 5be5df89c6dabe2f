/** How a model is loaded. Sizes in tokens and bytes; absent means chosen from the model and the machine. */
export interface LoadOptions {
  readonly modelPath: string;
  /** Sequences that can run at once. */
  readonly slots?: number;
  /** Context of one slot. */
  readonly contextTokens?: number;
  /** Most tokens of one forward pass. */
  readonly batchTokens?: number;
  /** Compute threads. */
  readonly threads?: number;
  /** Layers on a GPU: `auto` fits what the device holds. */
  readonly gpuLayers?: number | 'auto' | 'max';
  readonly gpu?: 'auto' | 'cuda' | 'metal' | 'vulkan' | false;
  readonly flashAttention?: boolean;
  /** Types of the KV cache's cells, as in llama.cpp: f16, q8_0, q4_0, … */
  readonly kvCacheKeyType?: string;
  readonly kvCacheValueType?: string;
  readonly kvCache?: KvCacheOptions;
  readonly loras?: readonly LoraOptions[];
  /** In Jinja, instead of the model's own, for chats with tools too. */
  readonly chatTemplate?: string;
  readonly draft?: DraftOptions;
  /** Where the kernel tells what the processor took (RAPL). */
  readonly powercap?: string;
  /** Requests that may wait; one more is refused as `overloaded`. */
  readonly maxQueue?: number;
}

/** Tiers for the KV of idle conversations. */
export interface KvCacheOptions {
  readonly memoryBytes?: number;
  readonly diskBytes?: number;
  /** Where the disk tier lives; absent: no disk tier. */
  readonly directory?: string;
}

/** A small model of the same vocabulary that guesses ahead: speculative decoding. */
export interface DraftOptions {
  readonly modelPath: string;
  /** Most tokens that are guessed for one step; 8 if absent. */
  readonly max?: number;
}

export interface LoraOptions {
  readonly name: string;
  readonly path: string;
}
