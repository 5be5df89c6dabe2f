/** What we use of @huggingface/transformers, an optional package. */
export interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  pipeline(
    task: string,
    model: string,
    options: { readonly dtype: string; readonly device: string; readonly local_files_only: boolean },
  ): Promise<unknown>;
  readonly TextStreamer: new (
    tokenizer: Tokenizer,
    options: {
      readonly skip_prompt: boolean;
      readonly skip_special_tokens: boolean;
      readonly callback_function: (text: string) => void;
      readonly token_callback_function: (tokens: readonly unknown[]) => void;
    },
  ) => unknown;
  readonly InterruptableStoppingCriteria: new () => { interrupt(): void };
}

export interface Tokenizer {
  readonly chat_template?: string | null;
  encode(text: string): readonly number[];
  apply_chat_template(
    messages: readonly { role: string; content: string }[],
    options: Record<string, unknown>,
  ): unknown;
}

export interface Generator {
  (prompt: string, options: Record<string, unknown>): Promise<unknown>;
  readonly tokenizer: Tokenizer;
}

export interface Embedder {
  (texts: readonly string[], options: Record<string, unknown>): Promise<{ tolist(): number[][] }>;
  readonly tokenizer: Tokenizer;
}

export type Classifier = (
  text: string,
  options: Record<string, unknown>,
) => Promise<readonly { readonly label: string; readonly score: number }[]>;
