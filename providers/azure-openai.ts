import type { Capabilities, Provider } from '../src/core/provider.ts';
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
  const version = `?api-version=${encodeURIComponent(apiVersion)}`;
  const deployment = (endpoint: string) => `/openai/deployments/{model}/${endpoint}${version}`;
  return openai({
    name,
    upstream,
    capabilities,
    oddities: {
      maxTokensField: 'max_completion_tokens',
      strict: true,
      callIds: openAiCallIds,
      paths: {
        chat: deployment('chat/completions'),
        completions: deployment('completions'),
        embeddings: deployment('embeddings'),
        models: `/openai/models${version}`,
      },
    },
  });
}
