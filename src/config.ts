import * as z from 'zod';
import { providerConfigSchema } from '../providers/shared/config.ts';
import { cacheConfig } from './cache/config.ts';
import { bytes, duration } from './config-values.ts';
import { once } from './core/once.ts';
import { filtersSchema, moderationSchema } from './filters/config.ts';
import { auditConfig, ledgerConfig } from './ledger/config.ts';
import { observabilityConfig } from './observability/config.ts';
import { budgetsConfig, keysConfig, limitsConfig, pricesConfig } from './policy/config.ts';
import { promptsSchema } from './prompts/config.ts';
import { modelSchema, referenceProblems } from './routing/config.ts';

/** What sections come to that are not there. */
const absent = {
  server: {
    host: '127.0.0.1',
    port: 8787,
    maxBodyBytes: 32 * 1024 * 1024,
    heartbeat: 10_000,
    drain: 10_000,
    slowReader: 60_000,
  },
  engine: {
    slots: 8,
    gpu: 'auto',
    batchTokens: 512,
    flashAttention: true,
    kvCache: { memory: 1024 ** 3, disk: 0, type: 'f16' },
    queue: 256,
    maxModels: 4,
    models: {},
  },
  prompts: { directory: 'prompts' },
  keys: { required: 'auto', fresh: 2000, grace: 300_000, isolation: 'key' },
  limits: { teams: {}, models: {}, store: 'memory', assumedTokens: 256 },
  prices: { overrides: {}, usdPerKwh: 0 },
  cache: {
    store: 'memory',
    maxBytes: 64 * 1024 * 1024,
    maxAnswerBytes: 1024 * 1024,
    idempotency: { keep: 24 * 3_600_000, inFlight: 'wait' },
  },
  audit: { requests: true, content: { keep: false, retention: 30 * 24 * 3_600_000, maxCharacters: 100_000 } },
  observability: {
    log: { level: 'info' },
    metrics: { enabled: true, open: false },
    history: 2000,
    quality: { reference: 200, current: 200, passedThrough: 0.1, embedded: 0.05 },
  },
} as const;

const server = once(() =>
  z
    .strictObject({
      host: z
        .string()
        .min(1)
        .default('127.0.0.1')
        .describe('The address to listen on; beyond loopback only with keys.'),
      port: z.int().min(0).max(65535).default(8787).describe('The port; 0 takes a free one.'),
      maxBodyBytes: bytes()
        .default(32 * 1024 * 1024)
        .describe('Larger request bodies are refused with 413.'),
      heartbeat: duration().default(10_000).describe('A stream that is silent for so long sends a comment.'),
      drain: duration().default(10_000).describe('How long running streams may go on after SIGTERM.'),
      slowReader: duration().default(60_000).describe('A reader that takes nothing for so long is dropped.'),
      origins: z
        .array(z.string())
        .optional()
        .describe(
          'Origins that web pages may call from: exact ones, `loopback`, or `*`. Loopback alone without keys, all with keys.',
        ),
      hosts: z
        .array(z.string())
        .optional()
        .describe(
          'Host names that requests may carry; `loopback` for this machine. Loopback alone without keys, all with keys.',
        ),
    })
    .describe('The HTTP server.'),
);

const localModel = once(() =>
  z
    .strictObject({
      slots: z.int().min(1).max(256).optional(),
      contextTokens: z.int().min(128).optional(),
      gpuLayers: z.int().min(0).optional(),
      draft: z
        .strictObject({
          model: z
            .string()
            .min(1)
            .describe('A small model with the same vocabulary: a name or the path of a GGUF file.'),
          max: z.int().min(1).max(64).default(8).describe('Most tokens that it guesses for one step.'),
        })
        .optional()
        .describe('Speculative decoding: a small model guesses ahead, this one checks all guesses at once.'),
      loras: z
        .record(z.string().min(1), z.string().min(1))
        .default({})
        .describe('LoRA adapters by the name that a request gives in `lora`, with the path of their GGUF file.'),
      chatTemplate: z
        .string()
        .min(1)
        .optional()
        .describe(
          'A file of `templates/` in the prompt library, without `.jinja`, in place of the model’s own; one named like the model needs no mention.',
        ),
    })
    .describe('What differs for one local model.'),
);

const engine = once(() =>
  z
    .strictObject({
      slots: z.int().min(1).max(256).default(8).describe('How many sequences one model decodes at once.'),
      contextTokens: z
        .int()
        .min(128)
        .optional()
        .describe("Most tokens of prompt and answer together; the model's own limit, at most 8192, if absent."),
      threads: z
        .int()
        .min(1)
        .optional()
        .describe('Compute threads; measured from the cores this process may use if absent.'),
      gpu: z.enum(['auto', 'cuda', 'metal', 'vulkan', 'off']).default('auto').describe('Where to compute.'),
      gpuLayers: z.int().min(0).optional().describe('Layers on the GPU; as many as fit if absent.'),
      batchTokens: z.int().min(32).default(512).describe('Most tokens in one forward pass.'),
      flashAttention: z
        .boolean()
        .default(true)
        .describe('Flash attention, where the model supports it; faster on CPUs too.'),
      kvCache: z
        .strictObject({
          memory: bytes()
            .default(1024 ** 3)
            .describe('Idle conversations kept in memory; 0 keeps none.'),
          disk: bytes().default(0).describe('And on disk, across restarts; 0 keeps none.'),
          type: z.enum(['f16', 'q8_0', 'q4_0']).default('f16').describe('Precision of keys and values.'),
        })
        .prefault({})
        .describe('The KV cache of idle conversations.'),
      queue: z
        .int()
        .min(0)
        .default(256)
        .describe('Most waiting requests; more are refused with 429 and a true retry-after.'),
      keepAlive: duration().optional().describe('Unload a model after so much idle time; never if absent.'),
      maxModels: z
        .int()
        .min(1)
        .default(4)
        .describe('Most models in memory at once; the least recently used one is unloaded.'),
      models: z
        .record(z.string().min(1), z.lazy(localModel))
        .default({})
        .describe('Settings of single models, by the name or path that targets give as `local`.'),
      memory: bytes()
        .optional()
        .describe('Most memory for all models together; half of what the machine has if absent.'),
    })
    .describe('The local engine.'),
);

const edge = once(() =>
  z
    .strictObject({
      nodes: z
        .array(z.url())
        .min(1)
        .describe('Base URLs of gateways with an engine, nearest first: https://home.example/v1.'),
      secret: z.string().min(32).describe('The `keys.gatewaySecret` of those gateways.'),
    })
    .describe('At the edge: which gateways serve targets that are `local`.'),
);

/**
 * A section that need not be there: its schema is built when one is. Building all of them is a third of the first request
 * to a worker, so what each comes to without settings stands in `absent`, and a test holds it to what the schema says.
 */
const section = <T extends z.ZodType>(schema: () => T, absent: z.core.util.NoUndefined<z.output<T>>) =>
  z
    .lazy(schema)
    .default(() => absent)
    .meta({ default: {} });

/** `tidegate.yaml`. All of it is optional. */
export const configSchema = once(() =>
  z
    .strictObject({
      $schema: z.string().optional().describe('For editors only.'),
      server: section(server, absent.server),
      engine: section(engine, absent.engine),
      providers: z
        .record(
          z.string().regex(/^[\w-]+$/, 'a name is made of letters, digits, - and _'),
          z.lazy(providerConfigSchema),
        )
        .default({})
        .describe('Upstreams by name.'),
      models: z
        .record(z.string().min(1), z.lazy(modelSchema))
        .prefault({ smollm2: { targets: [{ local: 'smollm2-135m-instruct' }] } })
        .describe('Public model names. A name not listed here is a 404.'),
      filters: filtersSchema().default({}),
      moderation: z.lazy(moderationSchema).optional(),
      prompts: section(promptsSchema, absent.prompts),
      keys: section(keysConfig, { ...absent.keys, fixed: [] }),
      limits: section(limitsConfig, absent.limits),
      budgets: section(budgetsConfig, []),
      prices: section(pricesConfig, absent.prices),
      cache: section(cacheConfig, absent.cache),
      ledger: z.lazy(ledgerConfig).optional(),
      audit: section(auditConfig, absent.audit),
      observability: section(observabilityConfig, absent.observability),
      edge: z.lazy(edge).optional(),
    })
    .superRefine((config, context) => {
      const { models, providers, filters } = config;
      for (const [name, model] of Object.entries(models)) {
        for (const [index, filter] of model.filters.entries()) {
          if (Object.hasOwn(filters, filter)) continue;
          const message = `there is no filter '${filter}' under \`filters\``;
          context.addIssue({ code: 'custom', path: ['models', name, 'filters', index], message });
        }
      }
      for (const { path, message } of referenceProblems(models, Object.keys(providers))) {
        context.addIssue({ code: 'custom', path: [...path], message });
      }
      for (const [path, model] of modelsNamedIn(config)) {
        if (model === undefined || Object.hasOwn(models, model)) continue;
        context.addIssue({ code: 'custom', path: [...path], message: `there is no model '${model}'` });
      }
    })
    .describe('The configuration of Tidegate.'),
);

type NamedModel = readonly [path: readonly (string | number)[], model: string | undefined];
type Naming = Pick<Config, 'budgets' | 'filters' | 'moderation' | 'cache' | 'observability'>;

/** Public models that other sections name; those of `models` itself are looked at with their routes. */
const modelsNamedIn = ({ budgets, filters, moderation, cache, observability }: Naming): readonly NamedModel[] => [
  ...budgets.map(({ reroute }, index): NamedModel => [['budgets', index, 'reroute'], reroute]),
  ...Object.entries(filters).map(
    ([name, filter]): NamedModel => [['filters', name, 'judge'], 'judge' in filter ? filter.judge : undefined],
  ),
  [['moderation', 'judge'], moderation?.judge],
  [['cache', 'embeddings'], cache.embeddings],
  [['observability', 'quality', 'embeddings'], observability.quality.embeddings],
];

export type Config = z.infer<ReturnType<typeof configSchema>>;
export type EngineConfig = Config['engine'];
