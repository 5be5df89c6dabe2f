import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';

/**
 * A chat body as the schema wants it, where editors write parts of it their own way: tools in the flat form of responses,
 * and functions and calls without their `type`. The same object where there is nothing to change.
 */
export function withChatForms(body: unknown): unknown {
  if (!isJsonObject(body)) return body;
  const tools = each(body['tools'], nestedTool);
  const messages = each(body['messages'], (message) => {
    const calls = each(message['tool_calls'], typed);
    return calls === message['tool_calls'] ? message : { ...message, tool_calls: calls ?? null };
  });
  const choice = isJsonObject(body['tool_choice']) ? nestedChoice(body['tool_choice']) : body['tool_choice'];
  if (tools === body['tools'] && messages === body['messages'] && choice === body['tool_choice']) return body;
  return {
    ...body,
    messages: messages ?? null,
    ...(tools === undefined ? {} : { tools }),
    ...(choice === undefined ? {} : { tool_choice: choice }),
  };
}

/** The list with each object of it changed; the same list where none was. */
function each(list: Json | undefined, change: (one: JsonObject) => JsonObject): Json | undefined {
  if (!Array.isArray(list)) return list;
  let changed = false;
  const next = list.map((one: Json) => {
    const made = isJsonObject(one) ? change(one) : one;
    changed ||= made !== one;
    return made;
  });
  return changed ? next : list;
}

const typed = (one: JsonObject): JsonObject =>
  one['type'] == null && isJsonObject(one['function']) ? { ...one, type: 'function' } : one;

function nestedTool(tool: JsonObject): JsonObject {
  const { type, name } = tool;
  if ((type !== 'function' && type !== 'custom') || typeof name !== 'string' || tool[type] != null) return typed(tool);
  const { type: _, ...described } = tool;
  return { type, [type]: described };
}

function nestedChoice(choice: JsonObject): JsonObject {
  const { type, name } = choice;
  const flat = (type === 'function' || type === 'custom') && typeof name === 'string' && choice[type] == null;
  return flat ? { type, [type]: { name } } : choice;
}
