import { GatewayError } from '../../core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import type { ChatRequest, ResponseFormat } from '../../core/request.ts';

/** What an answer must look like, in core's words or in those that llama-server and vLLM add to them. */
export type AnswerFormat =
  | ResponseFormat
  | { readonly type: 'regex'; readonly regex: string }
  | { readonly type: 'choice'; readonly texts: readonly string[] };

export interface AskedFormat {
  readonly format: AnswerFormat;
  /** The field that asks for it. */
  readonly param: string;
}

type Reader = (value: Json, param: string) => AnswerFormat;

/** Whatever field of the request says what the answer must look like. Throws invalid_request | unsupported, naming it. */
export function answerFormatOf({ responseFormat, extensions }: ChatRequest): AskedFormat {
  const asked: AskedFormat[] = [
    ...(responseFormat.type === 'text' ? [] : [modelled(responseFormat)]),
    ...read(extensions, fields, ''),
  ];
  const outputs = extensions['structured_outputs'];
  if (isJsonObject(outputs)) asked.push(...read(outputs, structuredOutputs, 'structured_outputs.'));
  else if (outputs !== undefined) throw wrong('structured_outputs', 'an object');
  const [first, second] = asked.filter(({ format }) => format.type !== 'text');
  if (first && second) {
    const message = `'${first.param}' and '${second.param}' both say what the answer must look like; use one of them.`;
    throw new GatewayError('invalid_request', message, { param: second.param });
  }
  return first ?? { format: { type: 'text' }, param: 'response_format' };
}

const modelled = (format: ResponseFormat): AskedFormat => ({
  format,
  param: format.type === 'grammar' ? 'grammar' : 'response_format',
});

const read = (from: JsonObject, readers: Readonly<Record<string, Reader>>, path: string): AskedFormat[] =>
  Object.entries(readers).flatMap(([name, reader]) => {
    const value = from[name];
    return value == null ? [] : [{ format: reader(value, `${path}${name}`), param: `${path}${name}` }];
  });

const schema: Reader = (value, param) => ({
  type: 'json-schema',
  name: 'response',
  schema: objectOrText(value, param),
});
const regex: Reader = (value, param) => ({ type: 'regex', regex: textOf(value, param) });
const jsonObject: Reader = (value) => ({ type: value === true ? 'json-object' : 'text' });

const choice: Reader = (value, param) => {
  const texts = Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
  if (!Array.isArray(value) || texts.length === 0 || texts.length < value.length) throw wrong(param, 'a list of texts');
  return { type: 'choice', texts };
};

/** Grammars in GBNF, as vLLM's default backend takes them too; Lark's have other rules. */
const grammar: Reader = (value, param) => {
  const text = textOf(value, param);
  if (text.includes('::=')) return { type: 'grammar', grammar: text };
  throw new GatewayError('unsupported', `This model supports grammars in GBNF only; '${param}' is none.`, { param });
};

/** A chat's `response_format` where the dialect has none of its own (vLLM's and llama-server's completions). */
const responseFormat: Reader = (value, param) => {
  const { type, schema: beside, json_schema: named } = isJsonObject(value) ? value : {};
  const given = type === 'json_schema' ? (isJsonObject(named) ? named['schema'] : undefined) : beside;
  if (type === 'text') return { type };
  if (type === 'json_object' && given == null) return { type: 'json-object' };
  if (type === 'json_object' || type === 'json_schema') return schema(given ?? {}, param);
  throw wrong(param, "{ type: 'text' | 'json_object' | 'json_schema' }");
};

const fields: Readonly<Record<string, Reader>> = {
  response_format: responseFormat,
  grammar: (value, param) => ({ type: 'grammar', grammar: textOf(value, param) }),
  json_schema: schema,
  guided_json: schema,
  guided_regex: regex,
  guided_choice: choice,
  guided_grammar: grammar,
};

const structuredOutputs: Readonly<Record<string, Reader>> = {
  json: schema,
  json_object: jsonObject,
  regex,
  choice,
  grammar,
  structural_tag: (_, param) => {
    throw new GatewayError('unsupported', `This model does not support '${param}'.`, { param });
  },
};

function textOf(value: Json, param: string): string {
  if (typeof value === 'string') return value;
  throw wrong(param, 'a string');
}

/** A schema as it is, or as JSON text. */
function objectOrText(value: Json, param: string): JsonObject {
  if (isJsonObject(value)) return value;
  try {
    const parsed: unknown = JSON.parse(textOf(value, param));
    if (isJsonObject(parsed)) return parsed;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
  }
  throw wrong(param, 'a JSON Schema');
}

const wrong = (param: string, what: string): GatewayError =>
  new GatewayError('invalid_request', `'${param}' must be ${what}.`, { param, code: 'invalid_type' });
