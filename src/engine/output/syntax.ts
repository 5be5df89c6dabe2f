import type { JsonObject } from '../../core/json.ts';
import type { ToolCall } from '../../core/request.ts';

/**
 * How a model writes calls: `open`, one JSON object (or several in an array), `close`. The object names the function under
 * `name` and its arguments under `argumentsKey`.
 */
export interface CallSyntax {
  readonly open: string;
  readonly close: string;
  /** The calls stand in one array between `open` and `close`. */
  readonly array: boolean;
  readonly argumentsKey: 'arguments' | 'parameters';
  /** The chat template knows tools by itself; else the prompt explains them. */
  readonly native: boolean;
}

/** What most models that were not trained on tools follow best, and what Hermes and Qwen models were trained on. */
const hermes: CallSyntax = {
  open: '<tool_call>',
  close: '</tool_call>',
  array: false,
  argumentsKey: 'arguments',
  native: false,
};

/** The syntax that a chat template teaches its model, told by the marks it writes. */
export function syntaxOf(template: string | undefined): CallSyntax {
  if (!template || !/\btools\b/.test(template)) return hermes;
  if (template.includes('<tool_call>') && !template.includes('<function=')) return { ...hermes, native: true };
  if (template.includes('[TOOL_CALLS]') && !template.includes('[ARGS]')) {
    return { open: '[TOOL_CALLS]', close: '', array: true, argumentsKey: 'arguments', native: true };
  }
  if (template.includes('<|python_tag|>') || template.includes('"parameters": ')) {
    return { open: '', close: '', array: false, argumentsKey: 'parameters', native: true };
  }
  return hermes;
}

/** A call as the model would have written it. */
export function writeCall(syntax: CallSyntax, call: ToolCall): string {
  const text = call.kind === 'custom' ? JSON.stringify({ input: call.arguments }) : call.arguments || '{}';
  return `${syntax.open}\n{"name": ${JSON.stringify(call.name)}, "${syntax.argumentsKey}": ${text}}\n${syntax.close}`;
}

/** Says in the prompt which tools there are, for templates that have no place for them. */
export function explainTools(syntax: CallSyntax, tools: readonly JsonObject[], parallel: boolean): string {
  return [
    'You may call functions to help with the request. These are the functions, as JSON Schema:',
    '<tools>',
    ...tools.map((tool) => JSON.stringify(tool)),
    '</tools>',
    `To call one, write its name and arguments as JSON between ${syntax.open} and ${syntax.close}:`,
    `${syntax.open}\n{"name": "<function name>", "${syntax.argumentsKey}": {<arguments>}}\n${syntax.close}`,
    parallel ? 'You may write several calls, one after the other.' : 'Write at most one call.',
  ].join('\n');
}
