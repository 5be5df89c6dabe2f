import { GatewayError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { detectLanguage } from '../core/language.ts';
import { moderationCategories } from '../core/provider.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Transport } from '../core/transport.ts';
import { type Direction, reads } from './compile.ts';
import type { FilterConfig } from './config.ts';
import { injectionScore } from './injection.ts';
import { beginningOf, type CompileSchema, extractJson, type JsonCheck, problemOf } from './json-check.ts';
import { type AskModel, scoresOf } from './judge.ts';
import { fromElsewhere, pass, type Reader, spoken, type Verdict } from './verdict.ts';
import { askWebhook } from './webhook.ts';

/** What filters need from the outside; a root brings what its platform has. */
export interface FilterParts {
  /** For `judge:` and `topics`. */
  readonly ask?: AskModel;
  /** For `classifier` with a `model`: labels with scores. */
  readonly classify?: (model: string, text: string, signal: AbortSignal) => Promise<readonly Label[]>;
  /** For `pii` with `ner`: parts of the text that name somebody or some place. */
  readonly entities?: (model: string | undefined, text: string, signal: AbortSignal) => Promise<readonly Entity[]>;
  /** For `webhook`. */
  readonly transport?: Transport;
  /** For `json`. */
  readonly compileSchema?: CompileSchema;
}

export interface Label {
  readonly label: string;
  readonly score: number;
}

export interface Entity extends Label {
  readonly text: string;
}

/** The reader of a filter that needs whole texts, made for one request; undefined for the other kinds. */
export function readerOf(
  name: string,
  config: FilterConfig,
  request: ChatRequest,
  parts: FilterParts,
): Reader | undefined {
  switch (config.kind) {
    case 'json':
      return jsonReader(name, config, request, (schema, options) =>
        needed(parts.compileSchema, 'compileSchema')(schema, options),
      );
    case 'language':
      return languageReader(name, config);
    case 'confidence':
      return confidenceReader(name, config);
    case 'injection':
      return injectionReader(name, config);
    case 'classifier':
      return judgedReader(name, config, (text, _stage, signal) => classify(config, text, parts, signal));
    case 'topics':
      return judgedReader(name, config, async (text, _stage, signal) => {
        const { judge: model, banned, threshold } = config;
        const variables = { text, topics: banned };
        const answer = await needed(
          parts.ask,
          'ask',
        )({ model, prompt: 'guard/topics', variables, scores: ['score'], signal });
        const score = scoresOf(answer, ['score'])['score'] ?? 0;
        return score >= threshold ? { action: config.action, detail: `score ${score.toFixed(2)}` } : pass;
      });
    case 'webhook':
      return judgedReader(name, config, (text, stage, signal, texts) =>
        askWebhook(
          { transport: needed(parts.transport, 'transport'), url: config.url, headers: config.headers },
          { stage, model: request.model, texts: texts ?? [text] },
          signal,
        ),
      );
    default:
      return undefined;
  }
}

type Of<Kind extends FilterConfig['kind']> = Extract<FilterConfig, { kind: Kind }>;

function needed<T>(part: T | undefined, what: string): T {
  if (part === undefined)
    throw new GatewayError('internal', `A filter needs '${what}', which this gateway was built without.`);
  return part;
}

const blocking = (action: string): boolean => action !== 'flag';

function jsonReader(
  name: string,
  config: Of<'json'>,
  { responseFormat, choices }: ChatRequest,
  compile: CompileSchema,
): Reader {
  const asked = responseFormat.type === 'json-schema' ? responseFormat.schema : undefined;
  const own = config.schema as JsonObject | undefined; // YAML holds JSON values only
  const check = own ? compile(own, { trusted: true }) : asked && compileAsked(asked, compile);
  return {
    name,
    holds: blocking(config.action),
    async readAnswer({ text, calls, finishReason }) {
      if ((calls.length > 0 && text.trim() === '') || finishReason === 'content-filter') return pass;
      const problem = problemOf(text, check);
      if (problem === undefined) return pass;
      const detail = problem === 'is not JSON' ? problem : 'does not fit the schema';
      if (config.action !== 'repair') return { action: config.action, detail };
      const repaired = extractJson(text);
      if (repaired !== undefined && problemOf(repaired, check) === undefined) {
        return { action: 'replace', texts: [repaired], detail: 'taken out of the text around it' };
      }
      const beginning = choices === 1 ? beginningOf(text) : '';
      return { action: 'retry', detail, ...(beginning.length > 1 && { beginning }) };
    },
  };
}

function compileAsked(schema: JsonObject, compile: CompileSchema): JsonCheck {
  try {
    return compile(schema, { trusted: false });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 300) : 'it cannot be read';
    const message = `The JSON Schema cannot be checked: ${why}`;
    throw new GatewayError('invalid_request', message, { cause, param: 'response_format' });
  }
}

function languageReader(name: string, config: Of<'language'>): Reader {
  const look = (text: string): Verdict => {
    const found = detectLanguage(text);
    if (found === 'und' || config.allow.includes(found)) return pass;
    return { action: config.action, detail: `language ${found}` };
  };
  return {
    name,
    holds: blocking(config.action),
    everyCharacters: config.characters,
    once: true,
    ...(reads(config, 'input') && {
      readRequest: async (texts: readonly string[]) => look(texts.at(-1)?.slice(0, config.characters) ?? ''),
    }),
    ...(reads(config, 'output') && {
      readAnswer: async (answer: { readonly text: string }) => look(answer.text.slice(0, config.characters)),
    }),
  };
}

function confidenceReader(name: string, config: Of<'confidence'>): Reader {
  return {
    name,
    holds: blocking(config.action),
    async readAnswer({ meanLogprob }) {
      if (meanLogprob === undefined) return { action: 'flag', detail: 'the target gave no log-probabilities' };
      const probability = Math.exp(meanLogprob);
      if (probability >= config.threshold) return pass;
      const detail = `probability ${probability.toFixed(2)}`;
      if (config.action !== 'default') return { action: config.action, detail };
      return { action: 'replace', texts: [config.default ?? 'I am not sure enough to answer this.'], detail };
    },
  };
}

function injectionReader(name: string, config: Of<'injection'>): Reader {
  return {
    name,
    holds: false,
    async readRequest(texts) {
      const worst = texts.map(injectionScore).reduce((a, b) => (b.score > a.score ? b : a), { score: 0, signs: [] });
      if (worst.score < config.threshold) return pass;
      return { action: config.action, detail: `score ${worst.score.toFixed(2)}: ${worst.signs.join(', ')}` };
    },
  };
}

async function classify(
  config: Of<'classifier'>,
  text: string,
  parts: FilterParts,
  signal: AbortSignal,
): Promise<Verdict> {
  const { judge, model, prompt = 'guard/safety', labels, threshold, action } = config;
  if (judge !== undefined) {
    const scores = [...(labels ?? moderationCategories)];
    const answer = await needed(
      parts.ask,
      'ask',
    )({ model: judge, prompt, variables: { text, categories: scores }, scores, signal });
    const worst = Object.entries(scoresOf(answer, scores)).reduce((a, b) => (b[1] > a[1] ? b : a), ['', -1]);
    return worst[1] >= threshold ? { action, detail: `${worst[0]} ${worst[1].toFixed(2)}` } : pass;
  }
  const found = await needed(parts.classify, 'classify')(model ?? '', text, signal);
  const bad = found.find(
    ({ label, score }) => score >= threshold && (labels ? labels.includes(label) : !isSafe(label)),
  );
  return bad ? { action, detail: `${bad.label} ${bad.score.toFixed(2)}` } : pass;
}

/** Names that classifiers give to harmless text. */
const isSafe = (label: string): boolean =>
  /^(?:ok|safe|benign|neutral|normal|legit|not[_ -]\w+|non[_ -]?\w+|label_0|0)$/i.test(label);

type Judge = (text: string, stage: Direction, signal: AbortSignal, texts?: readonly string[]) => Promise<Verdict>;

function judgedReader(name: string, config: Of<'classifier'> | Of<'topics'> | Of<'webhook'>, judge: Judge): Reader {
  const { timeoutMs, onError } = config;
  return {
    name,
    holds: blocking(config.action) || config.kind === 'webhook',
    ...(config.characters !== undefined && { everyCharacters: config.characters }),
    ...(reads(config, 'input') && {
      readRequest: (texts: readonly string[], signal: AbortSignal) =>
        fromElsewhere((inner) => judge(texts.join('\n'), 'input', inner, texts), { timeoutMs, onError, signal }),
    }),
    ...(reads(config, 'output') && {
      readAnswer: (answer: Parameters<NonNullable<Reader['readAnswer']>>[0], signal: AbortSignal) => {
        const text = spoken(answer);
        if (text === '') return Promise.resolve(pass);
        return fromElsewhere((inner) => judge(text, 'output', inner), { timeoutMs, onError, signal });
      },
    }),
  };
}
