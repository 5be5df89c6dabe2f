import { LRUCache } from 'lru-cache';
import { GatewayError } from '../../core/errors.ts';
import { isJsonObject } from '../../core/json.ts';
import type { ChatRequest, Tool, ToolChoice } from '../../core/request.ts';
import { withTextResults } from '../../core/tool-results.ts';
import type { GrammarOptions } from '../protocol.ts';
import { checkGrammarSize, promptOf, type RequestAdditions, withTemplate } from '../request.ts';
import { type AnswerFormat, type AskedFormat, answerFormatOf } from './answer-format.ts';
import { automatonRule } from './automaton-grammar.ts';
import { createGrammar, type GrammarBuilder, literal, oneOfTexts } from './gbnf.ts';
import { addSchema } from './json-schema.ts';
import { createOutputParser, type OutputParser } from './parser.ts';
import { refuseOthers } from './refused.ts';
import { wholeText } from './string-texts.ts';
import { type CallSyntax, syntaxOf } from './syntax.ts';
import { continuation, describeTool, toolPrompt } from './tool-prompt.ts';

/** What of a model decides how it writes calls and thinking. */
export interface OutputModel {
  readonly chatTemplate: string | undefined;
  readonly toolTemplate: string | undefined;
  /** `chatTemplate` is not the model's own: prompts carry it along. */
  readonly replaced?: boolean;
  /** The template's prompt ends inside the model's thinking. */
  readonly beginsThinking: boolean;
}

export interface CompiledOutput {
  readonly additions: RequestAdditions;
  /** Absent where the text is the answer as it comes. */
  readonly parser?: (choice: number) => OutputParser;
}

const think = { open: '<think>', close: '</think>' };
const maxParallelCalls = 16;

/** A model that was never trained on calls repeats the first one for ever: it gets as many as there are tools. */
const mostCalls = (syntax: CallSyntax, tools: readonly Tool[]) =>
  syntax.native ? maxParallelCalls : Math.min(maxParallelCalls, tools.length);

/**
 * What a request's format, tools and thinking mean for the engine: a grammar that holds from the first token (or, with
 * `tool_choice: auto`, from a call's mark on), the prompt, and how the text is read. Throws unsupported | invalid_request.
 */
export function compileOutput(asked: ChatRequest, model: OutputModel): CompiledOutput {
  refuseOthers(asked);
  const format = answerFormatOf(asked);
  if (asked.prompt) return { additions: formatGrammar(format, false) };
  const request = { ...asked, messages: withTextResults(asked.messages) };
  const usesTools = request.tools.length > 0 && request.toolChoice !== 'none';
  const syntax = syntaxOf(request.tools.length > 0 ? (model.toolTemplate ?? model.chatTemplate) : model.chatTemplate);
  const hasCalls = request.messages.some(
    (m) => m.role === 'tool' || (m.role === 'assistant' && m.toolCalls.length > 0),
  );
  const thinks = model.chatTemplate?.includes(think.close) ?? false;
  const begun = thinks && model.beginsThinking && !request.continueFinalMessage;

  const base = promptOf(request);
  const withTools =
    base.kind === 'chat' && (usesTools || hasCalls || request.tools.length > 0)
      ? toolPrompt(request, base, syntax, usesTools ? request.tools : [])
      : undefined;
  const prompt = model.replaced ? withTemplate(withTools ?? base, model.chatTemplate) : withTools;
  const { tools, toolChoice, parallelToolCalls } = request;
  const grammar = usesTools
    ? remembered([tools, toolChoice, parallelToolCalls, format, syntax, thinks, begun], () =>
        toolGrammar(request, format, syntax, thinks, begun),
      )
    : formatGrammar(format, thinks, begun).grammar;
  // the client's own grammar is of what is written now
  const consumed = format.format.type === 'grammar' ? '' : continuation(request, syntax);
  const additions: RequestAdditions = {
    ...(prompt ? { prompt } : {}),
    ...(grammar ? { grammar: { ...grammar, ...(consumed === '' ? {} : { consumed }) } } : {}),
    ...(usesTools || thinks ? { specialTokens: true } : {}),
  };
  if (!usesTools && !thinks) return { additions };

  const byName = new Map(request.tools.map((tool) => [tool.name, tool]));
  const last = request.messages.at(-1);
  const delivered = request.continueFinalMessage && last?.role === 'assistant' ? last.toolCalls : [];
  return {
    additions,
    parser: (choice) =>
      createOutputParser({
        choice,
        ...(usesTools
          ? {
              calls: {
                syntax,
                isTool: (name) => byName.has(name),
                kindOf: (name) => byName.get(name)?.kind ?? 'function',
                forced: mustCall(request.toolChoice),
                delivered,
              },
            }
          : {}),
        ...(thinks ? { thinking: { ...think, begun } } : {}),
      }),
  };
}

const mustCall = (choice: ToolChoice): boolean =>
  choice === 'required' || (typeof choice === 'object' && (choice.type === 'named' || choice.mode === 'required'));

/** Compiled grammars by what they were made of: the same schema comes with request after request. */
const compiled = new LRUCache<string, { readonly grammar: GrammarOptions | undefined }>({
  maxSize: 8 * 2 ** 20,
  sizeCalculation: ({ grammar }, key) => key.length + (grammar?.gbnf.length ?? 1),
});

function remembered(parts: readonly unknown[], make: () => GrammarOptions | undefined): GrammarOptions | undefined {
  const key = JSON.stringify(parts);
  const known = compiled.get(key) ?? { grammar: make() };
  compiled.set(key, known);
  return known.grammar;
}

function toolGrammar(
  request: ChatRequest,
  asked: AskedFormat,
  syntax: CallSyntax,
  thinks: boolean,
  begun: boolean,
): GrammarOptions | undefined {
  const { format } = asked;
  if (format.type === 'grammar') {
    throw new GatewayError('unsupported', 'This model cannot follow a grammar while it may call tools.', {
      param: asked.param,
    });
  }
  const param = 'tools';
  const choice = request.toolChoice;
  const tools = callable(request.tools, choice);
  const builder = createGrammar();
  const object = builder.rule('call', tools.map((tool, i) => callRule(builder, tool, i, syntax)).join(' | '));
  const single = !request.parallelToolCalls || (typeof choice === 'object' && choice.type === 'named');
  const most = single ? 1 : mostCalls(syntax, tools);
  const calls = callsRule(builder, object, syntax, most, true);
  if (mustCall(choice)) return { gbnf: builder.text(`${thinking(thinks, begun)}${calls}`), param };
  if (format.type !== 'text') {
    const answer = formatRule(builder, format, asked.param);
    return { gbnf: builder.text(`${thinking(thinks, begun)}( ${answer} | ${calls} )`), param };
  }
  if (syntax.open === '') return undefined; // no mark tells where a call begins: the parser finds it
  return { gbnf: builder.text(callsRule(builder, object, syntax, most, false)), triggers: [syntax.open], param };
}

/** The tools that may be called. Throws invalid_request where the choice names none. */
function callable(tools: readonly Tool[], choice: ToolChoice): readonly Tool[] {
  if (typeof choice !== 'object') return tools;
  const names = choice.type === 'named' ? [choice.name] : choice.names;
  const found = tools.filter((tool) => names.includes(tool.name));
  if (found.length > 0) return found;
  throw new GatewayError('invalid_request', `'tool_choice' names '${names[0] ?? ''}', which is not among the tools.`, {
    param: 'tool_choice',
  });
}

function callRule(builder: GrammarBuilder, tool: Tool, index: number, syntax: CallSyntax): string {
  const { parameters } = describeTool(tool)['function'] as { parameters: Parameters<typeof addSchema>[1] }; // made there
  const head = literal(`{"name": ${JSON.stringify(tool.name)}, "${syntax.argumentsKey}": `);
  return builder.rule(`call-${index}`, `${head} ${argumentsRule(builder, tool, parameters, index)} "}"`);
}

/** A strict tool's schema holds or is refused; another's holds as far as it can: any object where it can't. */
function argumentsRule(
  builder: GrammarBuilder,
  tool: Tool,
  schema: Parameters<typeof addSchema>[1],
  index: number,
): string {
  if (takesNothing(schema)) return literal('{}');
  const custom = tool.kind === 'custom';
  try {
    return addSchema(builder, schema, `tools[${index}].${tool.kind}.${custom ? 'format' : 'parameters'}`);
  } catch (error) {
    if (custom || tool.strict || !(error instanceof GatewayError)) throw error;
    return 'object';
  }
}

/** Whether a schema names no property and asks for none: to OpenAI such a function has no parameters, not any. */
function takesNothing(schema: unknown): boolean {
  if (!isJsonObject(schema) || schema['type'] !== 'object') return false;
  const { properties, additionalProperties = false } = schema;
  const annotations = ['type', 'properties', 'required', 'additionalProperties', 'title', 'description', '$schema'];
  return (
    isJsonObject(properties) &&
    Object.keys(properties).length === 0 &&
    additionalProperties === false &&
    Object.keys(schema).every((key) => annotations.includes(key))
  );
}

/** `marked` false: the text begins behind the first open mark, which the model has written by itself. */
function callsRule(builder: GrammarBuilder, object: string, syntax: CallSyntax, most: number, marked: boolean): string {
  const open = syntax.open === '' ? '' : `${literal(syntax.open)} `;
  const first = marked ? open : '';
  if (syntax.array) {
    const more = most > 1 ? ` ( ", " ${object} ){0,${most - 1}}` : '';
    return builder.rule('calls', `${first}" "? "[" ${object}${more} "]"`);
  }
  if (syntax.open === '') {
    const more = most > 1 ? ` ( "; " ${object} ){0,${most - 1}}` : '';
    return builder.rule('calls', `${object}${more}`);
  }
  const body = `"\\n"? ${object} "\\n"? ${literal(syntax.close)}`;
  const more = most > 1 ? ` ( "\\n"? ${open}${body} ){0,${most - 1}}` : '';
  return builder.rule('calls', `${first}${body}${more}`);
}

function formatGrammar({ format, param }: AskedFormat, thinks: boolean, begun = false): { grammar?: GrammarOptions } {
  if (format.type === 'text') return {};
  if (format.type === 'grammar') return { grammar: { gbnf: checkGrammarSize(format.grammar, param), param } };
  const grammar = remembered([format, param, thinks, begun], () => {
    const builder = createGrammar();
    const answer = formatRule(builder, format, param);
    return { gbnf: builder.text(`${thinking(thinks, begun)}${answer}`), param };
  });
  return grammar ? { grammar } : {};
}

function formatRule(
  builder: GrammarBuilder,
  format: Exclude<AnswerFormat, { type: 'text' | 'grammar' }>,
  param: string,
): string {
  switch (format.type) {
    case 'json-object':
      return 'object';
    case 'json-schema':
      return addSchema(builder, format.schema, param === 'response_format' ? `${param}.json_schema.schema` : param);
    case 'choice':
      return oneOfTexts(builder, format.texts);
    case 'regex':
      return automatonRule(builder, 'text', wholeText(format.regex, param), false);
    default:
      return format satisfies never;
  }
}

/** A model that thinks may do so before what the grammar wants. */
function thinking(thinks: boolean, begun: boolean): string {
  if (!thinks) return '';
  const body = '( [^<] | "<" [^/] | "</" [^t] )* "</think>" [\\n ]{0,4}';
  return begun ? `${body} ` : `( "<think>" ${body} )? `;
}
