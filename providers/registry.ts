import { GatewayError } from '../src/core/errors.ts';
import type { Provider } from '../src/core/provider.ts';
import type { Transport } from '../src/core/transport.ts';
import { guarded } from '../src/transport/guard.ts';
import { anthropic, anthropicCapabilities, anthropicVersion } from './anthropic.ts';
import { azureCapabilities, azureOpenAi } from './azure-openai.ts';
import { bedrock, bedrockCapabilities, signForAws } from './bedrock.ts';
import { cohere, cohereCapabilities } from './cohere.ts';
import { gemini, geminiCapabilities } from './gemini.ts';
import { openai } from './openai.ts';
import { capabilitiesOf, type Preset, presets } from './presets.ts';
import {
  type CommonConfig,
  type OnnxConfig,
  type OpenAiLikeConfig,
  type ProviderConfig,
  providerConfigSchema,
  type UpstreamConfig,
} from './shared/config.ts';
import { customToolsAsFunctions } from './shared/custom-tools.ts';
import { oneCallAtATime } from './shared/one-call.ts';
import { entraTokens, signWithToken } from './shared/tokens.ts';
import { createUpstream, type Sign, signWithKey, type Upstream, type UpstreamOptions } from './shared/upstream.ts';
import { vertex } from './vertex.ts';
import { type AiBinding, workersAi } from './workers-ai.ts';

export { providerConfigSchema } from './shared/config.ts';

export interface ProviderParts {
  readonly transport: Transport;
  /** Reaches public addresses only: for addresses that requests bring. Absent: judged by URL, over `transport`. */
  readonly publicTransport?: Transport;
  /** The Worker's `env.AI`, where there is one: `workers-ai` without a key uses it. */
  readonly ai?: AiBinding;
  /** Builds `onnx` providers, where native code can run. */
  readonly onnx?: (name: string, config: OnnxConfig) => Provider;
}

/** The provider of an entry, or one per replica: equal servers are separate targets, so that routing can choose. */
export function createProviders(name: string, entry: unknown, parts: ProviderParts): readonly Provider[] {
  const config = parseConfig(name, entry);
  if (config.type === 'onnx') {
    if (parts.onnx) return [parts.onnx(name, config)];
    throw new GatewayError('invalid_request', `providers.${name}: ONNX models run on Node only.`);
  }
  if (!('replicas' in config) || !config.replicas) return [emulated(build(name, config, parts))];
  const { replicas, ...rest } = config;
  return replicas.map((baseUrl, index) => emulated(build(`${name}#${index + 1}`, { ...rest, baseUrl }, parts)));
}

/** What a server has no word for, and we can do in its place. */
const emulated = (provider: Provider): Provider => oneCallAtATime(customToolsAsFunctions(provider));

/** The provider of an entry that has no replicas. Needs no network. Throws `invalid_request`, naming the field. */
export function createProvider(name: string, entry: unknown, parts: ProviderParts): Provider {
  const [first, ...others] = createProviders(name, entry, parts);
  if (first && others.length === 0) return first;
  throw new GatewayError('invalid_request', `providers.${name} has replicas: use createProviders.`);
}

function parseConfig(name: string, entry: unknown): ProviderConfig {
  const parsed = providerConfigSchema().safeParse(entry);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = ['providers', name, ...(issue?.path ?? [])].join('.');
  throw new GatewayError('invalid_request', `${field}: ${issue?.message ?? 'is not valid'}`, { param: field });
}

function build(name: string, config: UpstreamConfig, parts: ProviderParts): Provider {
  const reach = (baseUrl: string, sign: Sign, headers: Readonly<Record<string, string>> = {}): Upstream =>
    createUpstream({
      transport: parts.transport,
      baseUrl: config.baseUrl ?? baseUrl,
      sign,
      secrets: secretsOf(config),
      headers: { ...headers, ...config.headers },
      ...callerRights(config, parts),
    });
  switch (config.type) {
    case 'anthropic': {
      const sign = signWithKey(config.apiKey, 'x-api-key');
      const upstream = reach('https://api.anthropic.com/v1', sign, { 'anthropic-version': anthropicVersion });
      return anthropic({ name, upstream, capabilities: { ...anthropicCapabilities, ...config.capabilities } });
    }
    case 'gemini': {
      const sign = signWithKey(config.apiKey, 'x-goog-api-key');
      const upstream = reach('https://generativelanguage.googleapis.com/v1beta', sign);
      return gemini({ name, upstream, capabilities: { ...geminiCapabilities, ...config.capabilities } });
    }
    case 'cohere': {
      const upstream = reach('https://api.cohere.com/v2', signWithKey(config.apiKey));
      return cohere({ name, upstream, capabilities: { ...cohereCapabilities, ...config.capabilities } });
    }
    case 'azure-openai': {
      const sign = config.entra
        ? signWithToken(entraTokens(config.entra, parts.transport))
        : signWithKey(config.apiKey, 'api-key');
      const capabilities = { ...azureCapabilities, ...config.capabilities };
      return azureOpenAi({ name, upstream: reach(config.baseUrl, sign), apiVersion: config.apiVersion, capabilities });
    }
    case 'vertex': {
      const { project, location, credentials, apiKey: accessToken, api, baseUrl, capabilities } = config;
      const more: Pick<UpstreamOptions, 'headers' | 'callers'> = {
        ...(config.headers ? { headers: config.headers } : {}),
        ...callerRights(config, parts),
      };
      const { transport } = parts;
      return vertex({ name, transport, project, location, credentials, accessToken, api, baseUrl, capabilities, more });
    }
    case 'bedrock': {
      const { region, apiKey, accessKeyId = '', secretAccessKey = '', sessionToken } = config;
      const sign = apiKey ? signWithKey(apiKey) : signForAws({ accessKeyId, secretAccessKey, sessionToken }, region);
      const upstream = reach(`https://bedrock-runtime.${region}.amazonaws.com`, sign);
      return bedrock({ name, upstream, capabilities: { ...bedrockCapabilities, ...config.capabilities } });
    }
    case 'workers-ai':
      if (parts.ai && !config.apiKey && !config.baseUrl) {
        return workersAi({ name, ai: parts.ai, capabilities: config.capabilities });
      }
      return openAiLike(name, config, reach);
    default:
      return openAiLike(name, config, reach);
  }
}

function openAiLike(
  name: string,
  config: OpenAiLikeConfig,
  reach: (baseUrl: string, sign: Sign) => Upstream,
): Provider {
  const preset: Preset = presets[config.type];
  const sign = signWithKey(config.apiKey, config.keyHeader ?? preset.keyHeader);
  return openai({
    name,
    upstream: reach(config.baseUrl ?? addressOf(name, preset, config), sign),
    capabilities: capabilitiesOf(preset, config.capabilities),
    oddities: { ...preset.oddities, ...config.oddities },
  });
}

function addressOf(name: string, preset: Preset, { account }: OpenAiLikeConfig): string {
  const missing = (field: string) => new GatewayError('invalid_request', `providers.${name}: '${field}' is missing.`);
  if (!preset.baseUrl) throw missing('baseUrl');
  if (!preset.baseUrl.includes('{account}')) return preset.baseUrl;
  if (!account) throw missing('account');
  return preset.baseUrl.replace('{account}', encodeURIComponent(account));
}

/** Every value of an entry that must not be seen in an error. */
function secretsOf(config: UpstreamConfig): string[] {
  const secrets = [config.apiKey];
  if (config.type === 'bedrock') secrets.push(config.secretAccessKey, config.sessionToken);
  if (config.type === 'azure-openai') secrets.push(config.entra?.clientSecret);
  return secrets.filter((secret) => secret !== undefined && secret !== '') as string[]; // just filtered
}

function callerRights(
  { callerKeys, callerHosts }: CommonConfig,
  { transport, publicTransport }: ProviderParts,
): Pick<UpstreamOptions, 'callers'> {
  if (!callerKeys && !callerHosts) return {};
  return { callers: { keys: true, hosts: callerHosts ?? [], transport: publicTransport ?? guarded(transport) } };
}
