import { isJsonObject, type Json, type JsonObject } from '../core/json.ts';
import type { ChatRequest, Priority, Tool, ToolChoice } from '../core/request.ts';
import type { RequestSource } from './format.ts';
import { invalidValue } from './validate.ts';

// What a request has in every dialect, so that each decoder reads it the same way.

/** What the client sent, for upstreams of its own dialect. */
export function wireOf(
  dialect: ChatRequest['dialect'],
  body: unknown,
  source: RequestSource,
): NonNullable<ChatRequest['wire']> {
  return {
    dialect,
    body: isJsonObject(body) ? body : {},
    bytes: source.bytes,
    headers: dialectHeaders(source.headers),
  };
}

/** Client headers that mean something to an upstream of the same dialect; never credentials. */
function dialectHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const header of ['anthropic-beta', 'anthropic-version', 'openai-beta', 'idempotency-key']) {
    const value = headers[header];
    if (value !== undefined) kept[header] = value;
  }
  return kept;
}

/** Own fields of `body` that are not in `known`; nulls mean absent. */
export function extensionsOf(body: unknown, known: ReadonlySet<string>): JsonObject {
  if (!isJsonObject(body)) return {};
  const rest: Record<string, Json> = {};
  for (const key of Object.keys(body)) {
    const value = body[key];
    if (known.has(key) || key === '__proto__' || value === null || value === undefined) continue;
    rest[key] = value;
  }
  return rest;
}

/** The class that a client asks for; its key's own may lower it (policy). Throws invalid_request for an unknown one. */
export function priorityOf(headers: Readonly<Record<string, string>>): Priority {
  const value = headers['x-tidegate-priority'];
  if (value === undefined || value === '') return 'normal';
  if (value === 'interactive' || value === 'normal' || value === 'batch') return value;
  throw invalidValue(
    'x-tidegate-priority',
    "Invalid header 'x-tidegate-priority': use 'interactive', 'normal' or 'batch'.",
  );
}

/** `stop` as a list, each text once. */
export const stopList = (stop: string | readonly string[] | null | undefined): readonly string[] =>
  stop == null ? [] : typeof stop === 'string' ? [stop] : [...new Set(stop)];

/** A choice that no answer can satisfy is the client's error, said before anything is spent. */
export function checkToolChoice(choice: ToolChoice, tools: readonly Tool[], param: string): ToolChoice {
  if (choice === 'auto' || choice === 'none') return tools.length === 0 ? 'none' : choice;
  if (tools.length === 0) {
    throw invalidValue(param, `'${param}' is only allowed when 'tools' are specified.`);
  }
  const names = choice === 'required' ? [] : choice.type === 'named' ? [choice.name] : choice.names;
  const missing = names.find((name) => !tools.some((tool) => tool.name === name));
  if (missing !== undefined) {
    throw invalidValue(param, `Tool choice '${missing}' not found in 'tools'.`);
  }
  return choice;
}
