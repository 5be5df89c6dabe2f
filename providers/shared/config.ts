import { z } from 'zod';
import type { Capabilities } from '../../src/core/provider.ts';

/** http(s), without credentials: those belong into `apiKey`, where no log can meet them. */
export const baseUrl = z
  .url({ protocol: /^https?$/ })
  .refine((url) => !/^https?:\/\/[^/]*@/.test(url), { message: 'credentials do not belong into a URL; use `apiKey`' })
  .transform((url) => url.replace(/\/+$/, ''));

const flag = z.boolean().optional();
const capabilities = z.strictObject({
  tools: flag,
  toolChoice: flag,
  parallelToolCalls: flag,
  jsonObject: flag,
  jsonSchema: flag,
  grammar: flag,
  logprobs: flag,
  images: flag,
  audio: flag,
  choices: flag,
  seed: flag,
  penalties: flag,
  logitBias: flag,
  stop: flag,
  reasoning: flag,
  prefill: flag,
  completions: flag,
  embeddings: flag,
  local: flag,
});

/** What every type of provider may have. */
export const providerFields = {
  baseUrl: baseUrl.optional().describe('The address up to and without the endpoint, as in `https://host/v1`.'),
  apiKey: z.string().optional().describe('The key: from the environment, as in \u0024{NAME}, or `file:PATH`.'),
  keyHeader: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .optional()
    .describe('The header that carries the key, if it is not `authorization: Bearer`.'),
  headers: z.record(z.string(), z.string()).optional().describe('Further headers for every request.'),
  capabilities: capabilities
    .optional()
    .transform((given) => (given ? defined(given) : undefined))
    .describe('Corrections of what the target is able to do.'),
  oddities: z
    .strictObject({
      maxTokensField: z.enum(['max_tokens', 'max_completion_tokens']).optional(),
      developerAsSystem: z.boolean().optional(),
      noStreamOptions: z.boolean().optional(),
      prefill: z.enum(['prefix', 'continue_final_message', 'last-message']).optional(),
    })
    .optional()
    .transform((given) => (given ? defined(given) : undefined))
    .describe('Where the server departs from OpenAI’s own API.'),
  callerKeys: z.boolean().optional().describe('Requests may bring their own key in `x-tidegate-upstream-key`.'),
  callerHosts: z
    .array(z.string())
    .optional()
    .describe('Hosts that requests with their own key may name in `x-tidegate-upstream-url`; public addresses only.'),
  balance: z.string().optional().describe('How replicas share the traffic; see `balance` of a model.'),
} as const;

/** Without the keys that are undefined, which optional properties may not hold. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>; // just filtered
  };
}

export type CapabilityOverrides = Partial<Capabilities>;
