import * as z from 'zod';
import { once } from '../../src/core/once.ts';
import { type Preset, type PresetName, presets } from '../presets.ts';

/** http(s), without credentials: those belong into `apiKey`, where no log can meet them. */
const baseUrl = once(() =>
  z.url({ protocol: /^https?$/ }).refine((url) => !/^https?:\/\/[^/]*@/.test(url), {
    message: 'credentials do not belong into a URL; use `apiKey`',
  }),
);

/** A secret with a line break in it would be refused at each request, in words about the upstream. */
const headerValue = once(() =>
  z
    .string()
    .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'goes into a header, which holds no line breaks and no letters beyond Latin-1'),
);
const headerName = once(() => z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/, 'is no name of a header'));

const capabilities = once(() =>
  z
    .strictObject({
      tools: z.boolean().exactOptional(),
      toolChoice: z.boolean().exactOptional(),
      parallelToolCalls: z.boolean().exactOptional(),
      customTools: z.boolean().exactOptional(),
      jsonObject: z.boolean().exactOptional(),
      jsonSchema: z.boolean().exactOptional(),
      grammar: z.boolean().exactOptional(),
      logprobs: z.boolean().exactOptional(),
      images: z.boolean().exactOptional(),
      audio: z.boolean().exactOptional(),
      choices: z.boolean().exactOptional(),
      seed: z.boolean().exactOptional(),
      penalties: z.boolean().exactOptional(),
      logitBias: z.boolean().exactOptional(),
      stop: z.boolean().exactOptional(),
      reasoning: z.boolean().exactOptional(),
      prefill: z.boolean().exactOptional(),
      constrainedPrefill: z.boolean().exactOptional(),
      completions: z.boolean().exactOptional(),
      embeddings: z.boolean().exactOptional(),
      local: z.boolean().exactOptional(),
    })
    .describe('Corrections of what the target is able to do.'),
);

const oddities = once(() =>
  z
    .strictObject({
      maxTokensField: z.enum(['max_tokens', 'max_completion_tokens']).exactOptional(),
      developerAsSystem: z.boolean().exactOptional(),
      noStreamOptions: z.boolean().exactOptional(),
      prefill: z.enum(['prefix', 'continue_final_message', 'last-message']).exactOptional(),
      jsonSchemaByTool: z.boolean().exactOptional(),
      thoughts: z
        .enum(['reasoning', 'details', 'parts', 'nowhere', 'required'])
        .describe(
          'Where thinking of earlier turns goes, if not in `reasoning_content`; `required`: there, and never without it beside calls.',
        )
        .exactOptional(),
      thinkingSwitch: z.boolean().describe('Thinking is switched by `thinking: { type }`.').exactOptional(),
      nameless: z.boolean().describe('Refuses messages with a `name`.').exactOptional(),
      strict: z
        .boolean()
        .describe('Refuses samplers and marks of the cache that clients of other APIs send.')
        .exactOptional(),
      rename: z.record(z.string(), z.string()).exactOptional(),
      omit: z.array(z.string()).exactOptional(),
    })
    .describe('Where the server departs from OpenAI’s own API.'),
);

/** What every type of provider may have. */
const common = once(
  () =>
    ({
      baseUrl: baseUrl().optional().describe('The address up to and without the endpoint, as in `https://host/v1`.'),
      apiKey: headerValue().optional().describe('The key: from the environment, as in \u0024{NAME}, or `file:PATH`.'),
      headers: z.record(headerName(), headerValue()).optional().describe('Further headers for every request.'),
      capabilities: capabilities().optional(),
      balance: z.string().optional().describe('How replicas share the traffic; see `balance` of a model.'),
      callerKeys: z.boolean().optional().describe('Requests may bring their own key in `x-tidegate-upstream-key`.'),
      callerHosts: z
        .array(z.string())
        .optional()
        .describe(
          'Hosts that requests with a key of their own may name in `x-tidegate-upstream-url`; public ones only.',
        ),
    }) as const,
);

const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]]; // keys of a literal

const hasAddress = (preset: Preset): boolean => preset.baseUrl !== undefined;

const openAiLike = once(() =>
  z
    .strictObject({
      type: z.enum(presetNames).describe('The kind of server; `openai-compatible` for any that is not listed.'),
      ...common(),
      keyHeader: z
        .string()
        .regex(/^[a-z0-9-]+$/)
        .optional()
        .describe('The header that carries the key, if it is not `authorization: Bearer`.'),
      oddities: oddities().optional(),
      account: z.string().min(1).optional().describe('The account id, where the address holds one (Workers AI).'),
      replicas: z.array(baseUrl()).min(1).optional().describe('Base URLs of equal servers, instead of `baseUrl`.'),
    })
    .refine((entry) => !(entry.baseUrl && entry.replicas), { message: 'give `baseUrl` or `replicas`, not both' })
    .refine(({ type, baseUrl, replicas }) => baseUrl || replicas || hasAddress(presets[type]), {
      message: 'it is missing; servers of this type have no address of their own',
      path: ['baseUrl'],
    }),
);

const azure = once(() =>
  z
    .strictObject({
      type: z.literal('azure-openai'),
      ...common(),
      baseUrl: baseUrl().describe('The address of the resource, as in `https://NAME.openai.azure.com`.'),
      apiVersion: z
        .string()
        .default('2024-10-21')
        .describe('The version of the API; `v1` for the one without versions.'),
      entra: z
        .strictObject({
          tenantId: z.string().min(1),
          clientId: z.string().min(1),
          clientSecret: z.string().min(1),
          authority: baseUrl().default('https://login.microsoftonline.com'),
        })
        .optional()
        .describe('Microsoft Entra client credentials, instead of `apiKey`.'),
    })
    .refine((entry) => !(entry.apiKey && entry.entra), { message: 'give `apiKey` or `entra`, not both' }),
);

const vertex = once(() =>
  z.strictObject({
    type: z.literal('vertex'),
    ...common(),
    apiKey: z.string().optional().describe('An access token made elsewhere; `credentials` make their own.'),
    project: z.string().min(1).describe('The project id.'),
    location: z
      .string()
      .regex(/^[a-z0-9-]+$/)
      .default('global')
      .describe('The region, or `global`.'),
    credentials: z
      .string()
      .optional()
      .describe('The JSON key of a service account (as `file:PATH`), or `metadata` for the identity of the machine.'),
    api: z.enum(['gemini', 'openai']).default('gemini').describe('Gemini’s own format, or the OpenAI endpoint.'),
  }),
);

const bedrock = once(() =>
  z
    .strictObject({
      type: z.literal('bedrock'),
      ...common(),
      apiKey: z.string().optional().describe('A Bedrock API key, instead of an access key.'),
      region: z
        .string()
        .regex(/^[a-z0-9-]+$/)
        .describe('The AWS region.'),
      accessKeyId: z.string().optional(),
      secretAccessKey: z.string().optional(),
      sessionToken: z.string().optional(),
    })
    .refine((entry) => entry.apiKey || (entry.accessKeyId && entry.secretAccessKey) || entry.callerKeys, {
      message: 'give `apiKey`, or `accessKeyId` and `secretAccessKey`',
    }),
);

const keyed = once(() => z.strictObject({ type: z.enum(['anthropic', 'gemini', 'cohere']), ...common() }));

const onnx = once(() =>
  z.strictObject({
    type: z.literal('onnx'),
    models: z
      .record(
        z.string().min(1),
        z.strictObject({
          path: z.string().min(1).describe('The folder with config.json, tokenizer.json and onnx/model.onnx.'),
          task: z.enum(['text-generation', 'feature-extraction', 'text-classification']),
          dtype: z
            .enum(['fp32', 'fp16', 'q8', 'int8', 'uint8', 'q4', 'bnb4', 'q4f16'])
            .exactOptional()
            .describe('Which of the folder’s variants: `fp32` is model.onnx, `q8` model_quantized.onnx.'),
          threshold: z.number().min(0).max(1).exactOptional().describe('A label counts as flagged from this score on.'),
        }),
      )
      .describe('Small models in this process, by @huggingface/transformers (an optional package).'),
  }),
);

/** One entry under `providers:`, with variables and `file:` already resolved. */
export const providerConfigSchema = once(() =>
  z.discriminatedUnion('type', [openAiLike(), keyed(), azure(), vertex(), bedrock(), onnx()]).describe('An upstream.'),
);

export type ProviderConfig = z.infer<ReturnType<typeof providerConfigSchema>>;
export type OpenAiLikeConfig = z.infer<ReturnType<typeof openAiLike>>;
/** An entry that is reached over the network. */
export type UpstreamConfig = Exclude<ProviderConfig, { readonly type: 'onnx' }>;
export type OnnxConfig = z.infer<ReturnType<typeof onnx>>;
export type CommonConfig = Pick<UpstreamConfig, 'baseUrl' | 'apiKey' | 'headers' | 'callerKeys' | 'callerHosts'>;
