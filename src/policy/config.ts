import * as z from 'zod';
import { duration } from '../config-values.ts';
import { once } from '../core/once.ts';

export const limits = once(() =>
  z
    .strictObject({
      requestsPerMinute: z.int().min(1).optional().describe('Requests in any 60 seconds.'),
      tokensPerMinute: z.int().min(1).optional().describe('Prompt and completion tokens in any 60 seconds.'),
      streams: z.int().min(1).optional().describe('Answers under way at once.'),
    })
    .describe('What one key, team or model may use; absent means unlimited.')
    .transform(withoutAbsent),
);

const names = once(() => z.array(z.string().min(1)).optional());

const fixedKey = once(() =>
  z
    .strictObject({
      name: z.string().min(1).describe('Who holds it, for people.'),
      key: z
        .string()
        .min(16)
        .describe('The key itself, from the environment: "${TIDEGATE_KEY}". At least 16 characters.'),
      role: z.enum(['admin', 'caller']).default('caller').describe('`admin` may also manage keys and read all usage.'),
      owner: z.string().optional().describe('Person or system behind it.'),
      team: z.string().optional().describe('Whose limits and budgets it shares.'),
      tags: z.array(z.string()).default([]).describe('For usage reports.'),
      models: names().describe('Model names it may use; an entry may end in *. All if absent.'),
      endpoints: names().describe('Paths it may call (`/chat/completions`, `/files*`). All if absent.'),
      limits: limits().optional(),
      priority: z.enum(['interactive', 'normal', 'batch']).optional().describe('The most urgent class it may ask for.'),
      expires: z.iso.datetime({ offset: true }).optional().describe('When it stops working: 2027-01-31T00:00:00Z.'),
    })
    .describe('A key that lives in the configuration.'),
);

export const keysConfig = once(() =>
  z
    .strictObject({
      required: z
        .union([z.literal('auto'), z.boolean()])
        .default('auto')
        .describe('Whether a request needs a key. `auto`: as soon as there is one.'),
      fixed: z.array(fixedKey()).default([]).describe('Keys that live here instead of in the ledger.'),
      jwt: z
        .strictObject({
          issuer: z.string().min(1).describe('The `iss` that tokens must carry.'),
          audience: z.string().min(1).describe('The `aud` that tokens must carry.'),
          jwks: z.url().describe("The issuer's public keys: https://…/jwks.json."),
          algorithms: z
            .array(z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']))
            .min(1)
            .default(['RS256', 'ES256', 'EdDSA'])
            .describe('Signatures that are believed; symmetric ones never.'),
          teamClaim: z.string().default('team').describe('The claim that names the team.'),
          roleClaim: z.string().default('role').describe('The claim that names the role; `admin` where it says so.'),
          modelsClaim: z.string().default('models').describe('The claim that lists the models.'),
        })
        .optional()
        .describe('Bearer tokens of an OpenID Connect provider, beside keys.'),
      fresh: duration().default(2000).describe('How long a key is believed before it is looked up again.'),
      grace: duration().default(300_000).describe('How long a key seen before is believed while the ledger is lost.'),
      isolation: z
        .enum(['key', 'team'])
        .default('key')
        .describe('Who may share KV caches: nobody, or the keys of a team.'),
      gatewaySecret: z
        .string()
        .min(32)
        .optional()
        .describe('Shared with gateways at the edge (`edge.secret` there): they sign their requests with it.'),
      pepper: z
        .string()
        .min(16)
        .optional()
        .describe(
          'Secret that key digests are made with, so that a stolen ledger alone is no use. Keys made before it stop working.',
        ),
    })
    .describe('Who may use the gateway.'),
);

export const limitsConfig = once(() =>
  z
    .strictObject({
      perKey: limits().optional().describe('Of each key that has no limits of its own.'),
      teams: z.record(z.string(), limits()).default({}).describe('Of all keys of a team together.'),
      models: z.record(z.string(), limits()).default({}).describe('Of everybody together, by public model name.'),
      store: z
        .string()
        .regex(/^(memory|rediss?:\/\/.+)$/, 'write memory, or redis://host:port for several gateways')
        .default('memory')
        .describe('Where is counted: memory, or redis://… (Redis or Valkey) for several gateways.'),
      assumedTokens: z
        .int()
        .min(1)
        .default(256)
        .describe('Completion tokens to reckon with where a request sets no bound.'),
    })
    .describe('Rate limits.'),
);

export const budgetsConfig = once(() =>
  z
    .array(
      z.strictObject({
        name: z
          .string()
          .regex(/^[\w-]+$/)
          .describe('For alerts and reports; its spending is counted under it.'),
        per: z
          .enum(['key', 'team', 'model', 'all'])
          .default('all')
          .describe('Each key, team or model has it for itself, or all share it.'),
        only: names().describe('Only these keys (id or name), teams or models.'),
        period: z.enum(['day', 'week', 'month']).default('month').describe('UTC; weeks begin on Monday.'),
        usd: z.number().positive().describe('US dollars per period.'),
        warnAt: z.array(z.number().gt(0).max(1)).default([0.8, 1]).describe('Shares of it at which an alert is given.'),
        reroute: z
          .string()
          .optional()
          .describe('A cheaper public model for requests it has no room for; refused with 429 if absent.'),
      }),
    )
    .default([])
    .describe('How much money may be spent.'),
);

const price = once(() =>
  z.strictObject({
    input: z.number().min(0).describe('US dollars per million prompt tokens.'),
    output: z.number().min(0).describe('US dollars per million completion tokens.'),
    cachedInput: z.number().min(0).optional().describe('Per million prompt tokens that the upstream had cached.'),
    cacheWrite: z.number().min(0).optional().describe('Per million prompt tokens that the upstream put in its cache.'),
  }),
);

export const pricesConfig = once(() =>
  z
    .strictObject({
      overrides: z
        .record(z.string(), price())
        .default({})
        .describe('By provider/model, by provider/*, or by model. Published prices are known without.'),
      usdPerKwh: z.number().min(0).default(0).describe('What measured energy of local models costs.'),
    })
    .describe('What tokens cost.'),
);

export type KeysConfig = z.infer<ReturnType<typeof keysConfig>>;

function withoutAbsent({
  requestsPerMinute,
  tokensPerMinute,
  streams,
}: {
  requestsPerMinute?: number | undefined;
  tokensPerMinute?: number | undefined;
  streams?: number | undefined;
}) {
  return {
    ...(requestsPerMinute !== undefined && { requestsPerMinute }),
    ...(tokensPerMinute !== undefined && { tokensPerMinute }),
    ...(streams !== undefined && { streams }),
  };
}
