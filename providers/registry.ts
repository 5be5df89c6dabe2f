import { z } from 'zod';
import { GatewayError } from '../src/core/errors.ts';
import type { Provider } from '../src/core/provider.ts';
import type { Transport } from '../src/core/transport.ts';
import { guarded } from '../src/transport/guard.ts';
import { openai } from './openai.ts';
import { capabilitiesOf, type Preset, type PresetName, presets } from './presets.ts';
import { baseUrl, providerFields } from './shared/config.ts';
import { type CallerRights, createUpstream, signWithKey } from './shared/upstream.ts';

const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]]; // keys of a literal

const presetSchema = z
  .strictObject({
    type: z.enum(presetNames).describe('The kind of server; `openai-compatible` for any that is not listed.'),
    ...providerFields,
    account: z.string().min(1).optional().describe('The account id, where the address holds one (Workers AI).'),
    replicas: z.array(baseUrl).min(1).optional().describe('Base URLs of equal servers, instead of `baseUrl`.'),
  })
  .refine((entry) => !(entry.baseUrl && entry.replicas), { message: 'give `baseUrl` or `replicas`, not both' });

/** One entry under `providers:`, with `${NAME}` and `file:` already resolved. */
export const providerConfigSchema = z.union([presetSchema]).describe('An upstream.');

export type ProviderConfig = z.infer<typeof providerConfigSchema>;

export interface ProviderParts {
  readonly transport: Transport;
  /** Reaches public addresses only: for addresses that requests bring. Absent: judged by URL, over `transport`. */
  readonly publicTransport?: Transport;
}

/** The provider of an entry, or one per replica: equal servers are separate targets, so that routing can choose. */
export function createProviders(name: string, config: ProviderConfig, parts: ProviderParts): readonly Provider[] {
  if (!config.replicas) return [createProvider(name, config, parts)];
  const { replicas, ...rest } = config;
  return replicas.map((url, index) => createProvider(`${name}#${index + 1}`, { ...rest, baseUrl: url }, parts));
}

/** Builds one provider; needs no network. Throws `invalid_request` when something that its type needs is missing. */
export function createProvider(name: string, config: ProviderConfig, parts: ProviderParts): Provider {
  const preset: Preset = presets[config.type];
  const oddities = { ...preset.oddities, ...config.oddities };
  return openai({
    name,
    capabilities: capabilitiesOf(preset, config.capabilities),
    oddities,
    upstream: createUpstream({
      transport: parts.transport,
      baseUrl: config.baseUrl ?? addressOf(name, preset, config),
      sign: signWithKey(config.apiKey, config.keyHeader ?? preset.keyHeader),
      ...(config.headers ? { headers: config.headers } : {}),
      secrets: [config.apiKey ?? ''].filter(Boolean),
      ...callerRights(config, parts),
    }),
  });
}

function addressOf(name: string, preset: Preset, { account }: ProviderConfig): string {
  if (!preset.baseUrl) throw new GatewayError('invalid_request', `providers.${name}: 'baseUrl' is missing.`);
  if (!preset.baseUrl.includes('{account}')) return preset.baseUrl;
  if (!account) throw new GatewayError('invalid_request', `providers.${name}: 'account' is missing.`);
  return preset.baseUrl.replace('{account}', encodeURIComponent(account));
}

function callerRights(
  { callerKeys, callerHosts }: ProviderConfig,
  { transport, publicTransport }: ProviderParts,
): { callers?: CallerRights } {
  if (!callerKeys && !callerHosts) return {};
  return { callers: { keys: true, hosts: callerHosts ?? [], transport: publicTransport ?? guarded(transport) } };
}
