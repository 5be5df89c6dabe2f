import type { Capabilities, Provider } from '../src/core/provider.ts';
import type { Transport } from '../src/core/transport.ts';
import { gemini, geminiCapabilities } from './gemini.ts';
import { openai } from './openai.ts';
import { compatible } from './presets.ts';
import { googleMetadataTokens, googleTokens, signWithToken } from './shared/tokens.ts';
import { createUpstream, signWithKey, type UpstreamOptions } from './shared/upstream.ts';

export interface VertexOptions {
  readonly name: string;
  readonly transport: Transport;
  readonly project: string;
  /** `us-central1`, …, or `global`. */
  readonly location: string;
  /** The JSON key of a service account, or `metadata` for the identity of the machine itself. */
  readonly credentials?: string | undefined;
  /** An access token made elsewhere. */
  readonly accessToken?: string | undefined;
  /** Gemini's own format, or the OpenAI endpoint that serves partners' and self-deployed models too. */
  readonly api: 'gemini' | 'openai';
  /** Instead of Google's address, up to and with `/v1`. */
  readonly baseUrl?: string | undefined;
  readonly capabilities?: Partial<Capabilities> | undefined;
  readonly more?: Pick<UpstreamOptions, 'headers' | 'callers'>;
}

/**
 * Vertex AI (https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference). Tokens are made with
 * WebCrypto, so it runs at the edge.
 */
export function vertex(options: VertexOptions): Provider {
  const { name, transport, project, location, credentials, accessToken, api, capabilities, more } = options;
  const host = location === 'global' ? 'aiplatform.googleapis.com' : `${location}-aiplatform.googleapis.com`;
  const base = options.baseUrl ?? `https://${host}/v1`;
  const place = `${base}/projects/${encodeURIComponent(project)}/locations/${encodeURIComponent(location)}`;
  const sign =
    credentials === undefined
      ? signWithKey(accessToken)
      : signWithToken(
          credentials === 'metadata' ? googleMetadataTokens(transport) : googleTokens(credentials, transport),
        );
  const upstream = (baseUrl: string) =>
    createUpstream({ transport, baseUrl, sign, secrets: accessToken === undefined ? [] : [accessToken], ...more });
  if (api === 'openai') {
    const able = { ...compatible, completions: false, embeddings: false, logitBias: false, parallelToolCalls: false };
    return openai({
      name,
      upstream: upstream(`${place}/endpoints/openapi`),
      capabilities: { ...able, dialects: ['openai-chat'], ...capabilities },
      oddities: { developerAsSystem: true },
    });
  }
  return gemini({
    name,
    upstream: upstream(`${place}/publishers/google`),
    capabilities: { ...geminiCapabilities, embeddings: false, ...capabilities },
    onVertex: true,
  });
}
