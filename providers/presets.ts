import type { Capabilities } from '../src/core/provider.ts';
import type { OpenAiOddities } from './openai.ts';

/** A known server or service that speaks OpenAI's chat completions. */
export interface Preset {
  /** What people call it. */
  readonly title: string;
  /** `{account}` and the like are filled in from the configuration. Absent: the configuration must name it. */
  readonly baseUrl?: string;
  /** The environment variable that holds its key by custom; absent for servers that usually need none. */
  readonly keyVariable?: string;
  /** Header of the key, where it is not `authorization: Bearer`. */
  readonly keyHeader?: string;
  /** What it is not able to do of what such servers usually do. */
  readonly lacks?: readonly (keyof Capabilities)[];
  /** And what it is able to do beyond. */
  readonly adds?: Partial<Capabilities>;
  readonly oddities?: OpenAiOddities;
  /** The page its facts are from. */
  readonly source: string;
}

/** What a server that calls itself OpenAI-compatible can be expected to do. */
export const compatible: Capabilities = {
  dialects: ['openai-chat', 'openai-completions'],
  tools: true,
  toolChoice: true,
  parallelToolCalls: true,
  customTools: false,
  jsonObject: true,
  jsonSchema: true,
  grammar: false,
  logprobs: true,
  images: true,
  audio: false,
  choices: true,
  seed: true,
  penalties: true,
  logitBias: true,
  stop: true,
  reasoning: true,
  prefill: false,
  constrainedPrefill: false,
  completions: true,
  embeddings: true,
  local: false,
};

/** Of OpenAI’s own models, whoever serves them. */
export const openAiCallIds = /^.{1,40}$/s;

const chatOnly = { dialects: ['openai-chat'] } as const;

export const presets = {
  openai: {
    title: 'OpenAI',
    baseUrl: 'https://api.openai.com/v1',
    keyVariable: 'OPENAI_API_KEY',
    adds: { dialects: ['openai-chat', 'openai-completions', 'openai-responses'], audio: true, customTools: true },
    oddities: { maxTokensField: 'max_completion_tokens', strict: true, callIds: openAiCallIds },
    source: 'https://platform.openai.com/docs/api-reference/chat',
  },
  'openai-compatible': {
    title: 'any OpenAI-compatible server',
    source: 'https://platform.openai.com/docs/api-reference/chat',
  },
  vllm: {
    title: 'vLLM',
    baseUrl: 'http://127.0.0.1:8000/v1',
    adds: { prefill: true, dialects: ['openai-chat', 'openai-completions', 'openai-responses'] },
    oddities: {
      prefill: 'continue_final_message',
      thinkingField: 'chat_template_kwargs',
      paths: { rerank: '/rerank' },
    },
    source: 'https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html',
  },
  sglang: {
    title: 'SGLang',
    baseUrl: 'http://127.0.0.1:30000/v1',
    adds: { prefill: true },
    oddities: {
      prefill: 'continue_final_message',
      thinkingField: 'chat_template_kwargs',
      paths: { rerank: '/rerank' },
    },
    source: 'https://docs.sglang.ai/basic_usage/openai_api_completions.html',
  },
  'llama-server': {
    title: 'llama-server (llama.cpp)',
    baseUrl: 'http://127.0.0.1:8080/v1',
    adds: { grammar: true, prefill: true },
    oddities: {
      prefill: 'last-message',
      thinkingField: 'chat_template_kwargs',
      developerAsSystem: true,
      paths: { rerank: '/rerank' },
    },
    source: 'https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md',
  },
  ollama: {
    title: 'Ollama',
    baseUrl: 'http://127.0.0.1:11434/v1',
    lacks: ['toolChoice', 'parallelToolCalls', 'logitBias', 'choices'],
    oddities: { developerAsSystem: true },
    source: 'https://docs.ollama.com/api/openai-compatibility',
  },
  lmstudio: {
    title: 'LM Studio',
    baseUrl: 'http://127.0.0.1:1234/v1',
    lacks: ['choices', 'logprobs', 'parallelToolCalls'],
    oddities: { developerAsSystem: true },
    source: 'https://lmstudio.ai/docs/app/api/endpoints/openai',
  },
  tgi: {
    title: 'Text Generation Inference',
    baseUrl: 'http://127.0.0.1:8080/v1',
    lacks: ['choices', 'parallelToolCalls', 'logitBias', 'embeddings'],
    oddities: { developerAsSystem: true },
    source: 'https://huggingface.co/docs/text-generation-inference/messages_api',
  },
  'trtllm-serve': {
    title: 'TensorRT-LLM (trtllm-serve)',
    baseUrl: 'http://127.0.0.1:8000/v1',
    lacks: ['embeddings'],
    source: 'https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html',
  },
  ovms: {
    title: 'OpenVINO Model Server',
    baseUrl: 'http://127.0.0.1:8000/v3',
    lacks: ['logitBias', 'parallelToolCalls'],
    oddities: { paths: { rerank: '/rerank' } },
    source: 'https://docs.openvino.ai/2025/model-server/ovms_docs_rest_api_chat.html',
  },
  groq: {
    title: 'Groq',
    baseUrl: 'https://api.groq.com/openai/v1',
    keyVariable: 'GROQ_API_KEY',
    lacks: ['logprobs', 'logitBias', 'choices', 'completions', 'embeddings'],
    adds: chatOnly,
    oddities: { maxTokensField: 'max_completion_tokens', thoughts: 'reasoning', nameless: true, strict: true },
    source: 'https://console.groq.com/docs/openai',
  },
  together: {
    title: 'Together',
    baseUrl: 'https://api.together.xyz/v1',
    keyVariable: 'TOGETHER_API_KEY',
    lacks: ['logprobs'],
    oddities: { paths: { rerank: '/rerank' } },
    source: 'https://docs.together.ai/docs/openai-api-compatibility',
  },
  fireworks: {
    title: 'Fireworks',
    baseUrl: 'https://api.fireworks.ai/inference/v1',
    keyVariable: 'FIREWORKS_API_KEY',
    source: 'https://docs.fireworks.ai/tools-sdks/openai-compatibility',
  },
  mistral: {
    title: 'Mistral',
    baseUrl: 'https://api.mistral.ai/v1',
    keyVariable: 'MISTRAL_API_KEY',
    lacks: ['logprobs', 'logitBias', 'completions'],
    adds: { ...chatOnly, prefill: true },
    oddities: {
      prefill: 'prefix',
      noStreamOptions: true,
      developerAsSystem: true,
      rename: { seed: 'random_seed' },
      thoughts: 'parts',
      callIds: /^[A-Za-z0-9]{9}$/,
      answersTools: true,
      nameless: true,
      strict: true,
      omit: ['user', 'prompt_cache_key', 'service_tier', 'safety_identifier', 'store', 'max_completion_tokens'],
    },
    source: 'https://docs.mistral.ai/api/',
  },
  deepseek: {
    title: 'DeepSeek',
    baseUrl: 'https://api.deepseek.com/v1',
    keyVariable: 'DEEPSEEK_API_KEY',
    lacks: ['choices', 'seed', 'logitBias', 'images', 'embeddings', 'completions', 'parallelToolCalls'],
    adds: chatOnly,
    oddities: { developerAsSystem: true, jsonSchemaByTool: true, thoughts: 'required', thinkingSwitch: true },
    source: 'https://api-docs.deepseek.com/api/create-chat-completion',
  },
  xai: {
    title: 'xAI',
    baseUrl: 'https://api.x.ai/v1',
    keyVariable: 'XAI_API_KEY',
    lacks: ['logitBias', 'embeddings'],
    source: 'https://docs.x.ai/docs/api-reference',
  },
  openrouter: {
    title: 'OpenRouter',
    baseUrl: 'https://openrouter.ai/api/v1',
    keyVariable: 'OPENROUTER_API_KEY',
    lacks: ['choices', 'embeddings'],
    adds: { prefill: true },
    oddities: { prefill: 'last-message', thoughts: 'details', thinkingField: 'reasoning' },
    source: 'https://openrouter.ai/docs/api-reference/parameters',
  },
  cerebras: {
    title: 'Cerebras',
    baseUrl: 'https://api.cerebras.ai/v1',
    keyVariable: 'CEREBRAS_API_KEY',
    lacks: ['choices', 'logitBias', 'penalties', 'images', 'embeddings'],
    oddities: { maxTokensField: 'max_completion_tokens', thoughts: 'nowhere', strict: true },
    source: 'https://inference-docs.cerebras.ai/resources/openai',
  },
  nim: {
    title: 'NVIDIA NIM',
    baseUrl: 'https://integrate.api.nvidia.com/v1',
    keyVariable: 'NVIDIA_API_KEY',
    source: 'https://docs.nvidia.com/nim/large-language-models/latest/api-reference.html',
  },
  perplexity: {
    title: 'Perplexity',
    baseUrl: 'https://api.perplexity.ai',
    keyVariable: 'PERPLEXITY_API_KEY',
    lacks: [
      'tools',
      'toolChoice',
      'parallelToolCalls',
      'logprobs',
      'logitBias',
      'choices',
      'seed',
      'stop',
      'completions',
      'embeddings',
    ],
    adds: chatOnly,
    oddities: { noStreamOptions: true, developerAsSystem: true, nameless: true },
    source: 'https://docs.perplexity.ai/api-reference/chat-completions-post',
  },
  huggingface: {
    title: 'Hugging Face router',
    baseUrl: 'https://router.huggingface.co/v1',
    keyVariable: 'HF_TOKEN',
    lacks: ['completions', 'embeddings'],
    adds: chatOnly,
    source: 'https://huggingface.co/docs/inference-providers/index',
  },
  'workers-ai': {
    title: 'Cloudflare Workers AI',
    baseUrl: 'https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1',
    keyVariable: 'CLOUDFLARE_API_TOKEN',
    lacks: ['choices', 'logprobs', 'logitBias', 'parallelToolCalls'],
    oddities: { developerAsSystem: true },
    source: 'https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/',
  },
  'github-models': {
    title: 'GitHub Models',
    baseUrl: 'https://models.github.ai/inference',
    keyVariable: 'GITHUB_TOKEN',
    lacks: ['choices', 'logprobs', 'logitBias', 'completions'],
    adds: chatOnly,
    oddities: { paths: { models: '' } },
    source: 'https://docs.github.com/en/rest/models/inference',
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof presets;

/** What a preset's target is able to do, with the configuration's own word on top. */
export function capabilitiesOf(preset: Preset, overrides: Partial<Capabilities> = {}): Capabilities {
  const lacking = Object.fromEntries((preset.lacks ?? []).map((name) => [name, false]));
  return { ...compatible, ...lacking, ...preset.adds, ...overrides };
}
