import type { Capabilities, Provider } from '../src/core/provider.ts';
import type { OpenAiPaths } from './openai/endpoints.ts';
import { openai } from './openai.ts';
import { compatible, openAiCallIds } from './presets.ts';
import type { Upstream } from './shared/upstream.ts';

export const azureCapabilities: Capabilities = {
  ...compatible,
  dialects: ['openai-chat', 'openai-completions'],
  audio: true,
  customTools: true,
};

export interface AzureOptions {
  readonly name: string;
  /** At the resource's address: `https://NAME.openai.azure.com`. */
  readonly upstream: Upstream;
  readonly apiVersion: string;
  readonly capabilities?: Capabilities;
}

/** Azure OpenAI: a target's model is the deployment (https://learn.microsoft.com/azure/ai-services/openai/reference). */
export function azureOpenAi({ name, upstream, apiVersion, capabilities = azureCapabilities }: AzureOptions): Provider {
  // its API without versions is OpenAI's own, Responses included (https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle)
  const isUnversioned = apiVersion === 'v1';
  const dialects: Capabilities['dialects'] = isUnversioned
    ? [...new Set([...capabilities.dialects, 'openai-responses' as const])]
    : capabilities.dialects;
  return openai({
    name,
    upstream,
    capabilities: { ...capabilities, dialects },
    oddities: {
      maxTokensField: 'max_completion_tokens',
      strict: true,
      callIds: openAiCallIds,
      paths: isUnversioned ? unversioned : versioned(apiVersion),
    },
  });
}

const unversioned: OpenAiPaths = {
  chat: '/openai/v1/chat/completions',
  completions: '/openai/v1/completions',
  responses: '/openai/v1/responses',
  embeddings: '/openai/v1/embeddings',
  moderations: '/openai/v1/moderations',
  models: '/openai/v1/models',
};

function versioned(apiVersion: string): Partial<OpenAiPaths> {
  const version = `?api-version=${encodeURIComponent(apiVersion)}`;
  const deployment = (endpoint: string) => `/openai/deployments/{model}/${endpoint}${version}`;
  return {
    chat: deployment('chat/completions'),
    completions: deployment('completions'),
    embeddings: deployment('embeddings'),
    models: `/openai/models${version}`,
  };
}
