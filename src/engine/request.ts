import { GatewayError } from '../core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts';
import { type ChatRequest, type Message, textOf } from '../core/request.ts';
import type { EnginePrompt, GenerateRequest, GrammarOptions, SamplingOptions, TemplateMessage } from './protocol.ts';

/** What a request asks beyond the vocabulary of core, made by the output compiler. */
export interface RequestAdditions {
  readonly grammar?: GrammarOptions;
  readonly specialTokens?: boolean;
  readonly stop?: readonly string[];
  /** Messages, tools and template variables as the output format wants them in the prompt. */
  readonly prompt?: EnginePrompt;
}

/** A request in the engine's own terms. Throws GatewayError invalid_request | unsupported, naming the field. */
export function toGenerateRequest(
  request: ChatRequest,
  tenant: string,
  additions: RequestAdditions = {},
): GenerateRequest {
  const read = extensionReader(request.extensions);
  const { grammar } = additions;
  const minTokens = read.number('min_tokens', 0, 1_000_000);
  const cachePrompt = read.flag('cache_prompt');
  const deterministic = read.flag('deterministic');
  const shift = read.flag('context_shift');
  const promptLookup = read.flag('prompt_lookup');
  const maxDraft = read.number('speculative.n_max', 0, 64);
  const loras = lorasOf(request.extensions['lora']);
  return {
    prompt: additions.prompt ?? promptOf(request),
    sampling: samplingOf(request, read),
    stop: additions.stop ? [...request.stop, ...additions.stop] : request.stop,
    choices: request.choices,
    priority: request.priority,
    tenant,
    ...(request.maxTokens === undefined ? {} : { maxTokens: request.maxTokens }),
    ...(minTokens === undefined ? {} : { minTokens }),
    ...(request.logprobs ? { logprobs: request.logprobs } : {}),
    ...(request.prompt?.echo ? { echo: true } : {}),
    ...(grammar ? { grammar } : {}),
    ...(additions.specialTokens ? { specialTokens: true } : {}),
    ...(request.prediction === undefined ? {} : { prediction: request.prediction }),
    ...(promptLookup === undefined ? {} : { promptLookup }),
    ...(maxDraft === undefined ? {} : { maxDraft }),
    ...(request.promptCacheKey === undefined ? {} : { cacheKey: request.promptCacheKey }),
    ...(cachePrompt === undefined ? {} : { cachePrompt }),
    ...(deterministic === undefined ? {} : { deterministic }),
    ...(shift ? { overflow: 'shift' as const } : {}),
    ...(loras ? { loras } : {}),
  };
}

/** The prompt as the engine reads it: a chat for the model's template, or raw text. */
export function promptOf(request: ChatRequest): EnginePrompt {
  if (request.prompt) {
    const { text, suffix, files } = request.prompt;
    const gap = suffix === undefined ? {} : { suffix };
    return typeof text === 'string'
      ? { kind: 'text', text, ...gap, ...(files && { files }) }
      : { kind: 'tokens', tokens: text, ...gap };
  }
  const last = request.messages.at(-1);
  const continues = request.continueFinalMessage && last?.role === 'assistant';
  const messages = (continues ? request.messages.slice(0, -1) : request.messages).map(templateMessage);
  const variables = request.extensions['chat_template_kwargs'];
  const thinking =
    request.reasoning === undefined
      ? {}
      : { enable_thinking: request.reasoning.enabled !== false && request.reasoning.budgetTokens !== 0 };
  return {
    kind: 'chat',
    messages,
    variables: { ...thinking, ...(isJsonObject(variables) ? variables : {}) },
    ...(continues ? { continueText: textOf(last.content) } : {}),
    ...(request.tools.length > 0 && request.toolChoice !== 'none' ? { tools: request.tools.map(templateTool) } : {}),
  };
}

/** The same, to be rendered by `template` in place of the model's own. */
export const withTemplate = (prompt: EnginePrompt, template: string | undefined): EnginePrompt =>
  template === undefined || prompt.kind !== 'chat' ? prompt : { ...prompt, template };

/** A turn as chat templates know it: plain text, tool arguments parsed (templates print them as JSON themselves). */
export function templateMessage(message: Message): TemplateMessage {
  const content = textOf(message.content);
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', content };
    case 'user':
      return { role: 'user', content };
    case 'tool':
      return {
        role: 'tool',
        content,
        tool_call_id: message.toolCallId,
        ...(message.name ? { name: message.name } : {}),
      };
    case 'assistant': {
      const reasoning = (message.reasoning ?? []).map(({ text }) => text).join('');
      return {
        role: 'assistant',
        content: content || (message.refusal ?? ''),
        ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
        ...(message.toolCalls.length === 0
          ? {}
          : {
              tool_calls: message.toolCalls.map((call) => ({
                id: call.id,
                type: 'function',
                function: { name: call.name, arguments: parseOr(call.arguments) },
              })),
            }),
      };
    }
    default:
      return message satisfies never;
  }
}

const templateTool = (tool: ChatRequest['tools'][number]) => ({
  type: 'function',
  function: {
    name: tool.name,
    description: tool.description ?? '',
    parameters: tool.parameters ?? { type: 'object', properties: {} },
  },
});

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const maxGrammarCharacters = 256 * 1024;
const maxGrammarDepth = 100;

/** llama.cpp parses grammars by recursion and dies of deep ones. */
export function checkGrammarSize(gbnf: string, param: string): string {
  if (gbnf.length > maxGrammarCharacters) {
    throw new GatewayError('invalid_request', `The grammar is longer than ${maxGrammarCharacters} characters.`, {
      param,
    });
  }
  let depth = 0;
  for (let i = 0; i < gbnf.length; i++) {
    if (gbnf[i] === '(' && ++depth > maxGrammarDepth) {
      throw new GatewayError('invalid_request', `The grammar nests more than ${maxGrammarDepth} parentheses.`, {
        param,
      });
    }
    if (gbnf[i] === ')') depth--;
  }
  return gbnf;
}

function samplingOf({ sampling, extensions }: ChatRequest, read: ExtensionReader): SamplingOptions {
  const bias = extensions['logit_bias'];
  const options: Record<keyof SamplingOptions, unknown> = {
    temperature: sampling.temperature,
    topK: sampling.topK ?? read.number('top_k', -1, 1_000_000),
    topP: sampling.topP,
    minP: sampling.minP ?? read.number('min_p', 0, 1),
    typicalP: read.number('typical_p', 0, 1),
    topNSigma: read.number('top_n_sigma', -1, 100),
    dynatempRange: read.number('dynatemp_range', 0, 100),
    dynatempExponent: read.number('dynatemp_exponent', 0, 100),
    mirostat: read.number('mirostat', 0, 2),
    mirostatTau: read.number('mirostat_tau', 0, 100),
    mirostatEta: read.number('mirostat_eta', 0, 100),
    xtcProbability: read.number('xtc_probability', 0, 1),
    xtcThreshold: read.number('xtc_threshold', 0, 1),
    seed: sampling.seed,
    repeatPenalty:
      sampling.repeatPenalty ?? read.number('repeat_penalty', 0, 100) ?? read.number('repetition_penalty', 0, 100),
    repeatLastN: read.number('repeat_last_n', -1, 1_000_000),
    frequencyPenalty: sampling.frequencyPenalty,
    presencePenalty: sampling.presencePenalty,
    dryMultiplier: read.number('dry_multiplier', 0, 100),
    dryBase: read.number('dry_base', 0, 100),
    dryAllowedLength: read.number('dry_allowed_length', 0, 1_000_000),
    dryPenaltyLastN: read.number('dry_penalty_last_n', -1, 1_000_000),
    drySequenceBreakers: read.texts('dry_sequence_breakers'),
    logitBias: sampling.logitBias ?? (isJsonObject(bias) ? bias : undefined),
    ignoreEos: read.flag('ignore_eos'),
  };
  // Built from checked values; undefined ones are left out.
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as SamplingOptions;
}

/** The fields read here. */
export const followedFields: readonly string[] = [
  'min_tokens cache_prompt deterministic context_shift prompt_lookup speculative.n_max lora chat_template_kwargs',
  'top_k min_p typical_p top_n_sigma dynatemp_range dynatemp_exponent mirostat mirostat_tau mirostat_eta',
  'xtc_probability xtc_threshold repeat_penalty repetition_penalty repeat_last_n logit_bias ignore_eos',
  'dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers',
].flatMap((line) => line.split(' '));

interface ExtensionReader {
  number(name: string, least: number, most: number): number | undefined;
  flag(name: string): boolean | undefined;
  texts(name: string): readonly string[] | undefined;
}

/** Reads llama.cpp's and vLLM's own fields: absent or null is absent, another type is the client's mistake. */
function extensionReader(extensions: JsonObject): ExtensionReader {
  const get = (name: string): Json | undefined => extensions[name] ?? undefined;
  const wrong = (name: string, what: string): never => {
    throw new GatewayError('invalid_request', `'${name}' must be ${what}.`, { param: name, code: 'invalid_type' });
  };
  return {
    number(name, least, most) {
      const value = get(name);
      if (value === undefined) return undefined;
      if (typeof value !== 'number' || !(value >= least && value <= most)) {
        return wrong(name, `a number from ${least} to ${most}`);
      }
      return value;
    },
    flag(name) {
      const value = get(name);
      if (value === undefined || typeof value === 'boolean') return value;
      return wrong(name, 'true or false');
    },
    texts(name) {
      const value = get(name);
      if (value === undefined) return undefined;
      if (!Array.isArray(value)) return wrong(name, 'a list of strings');
      return value.map((item) => (typeof item === 'string' ? item : wrong(name, 'a list of strings')));
    },
  };
}

function lorasOf(value: Json | undefined): GenerateRequest['loras'] {
  if (value === undefined || value === null) return undefined;
  const wrong = () =>
    new GatewayError('invalid_request', "'lora' must be a list of { name, scale }.", {
      param: 'lora',
      code: 'invalid_type',
    });
  if (!Array.isArray(value)) throw wrong();
  return value.map((item: Json) => {
    if (!isJsonObject(item)) throw wrong();
    const name = item['name'] ?? item['id'];
    const scale = item['scale'] ?? 1;
    if ((typeof name !== 'string' && typeof name !== 'number') || typeof scale !== 'number') throw wrong();
    return { name: String(name), scale };
  });
}
