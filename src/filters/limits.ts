import type { Json } from '../core/json.ts';
import type { ChatRequest } from '../core/request.ts';
import type { FilterConfig } from './config.ts';
import { textsOf } from './request-text.ts';

/** What a request has too much of, in words; undefined when it is within the limits. */
export function overLimit(request: ChatRequest, limits: Extract<FilterConfig, { kind: 'limits' }>): string | undefined {
  const { characters, messages, tools, depth } = limits;
  if (messages !== undefined && request.messages.length > messages) return `more than ${messages} messages`;
  if (tools !== undefined && request.tools.length > tools) return `more than ${tools} tools`;
  if (characters !== undefined) {
    const length = textsOf(request).reduce((sum, text) => sum + text.length, 0);
    if (length > characters) return `more than ${characters} characters`;
  }
  if (depth !== undefined) {
    const schema = request.responseFormat.type === 'json-schema' ? request.responseFormat.schema : null;
    const values: (Json | undefined)[] = [schema, request.extensions, ...request.tools.map((tool) => tool.parameters)];
    if (values.some((value) => deeperThan(value, depth))) return `nesting deeper than ${depth}`;
  }
  return undefined;
}

function deeperThan(value: Json | undefined, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth <= 0 || Object.values(value).some((item) => deeperThan(item, depth - 1));
}
