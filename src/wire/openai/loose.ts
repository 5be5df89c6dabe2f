import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import type { Unsayable } from '../../core/request.ts';

/**
 * A chat body as the schema wants it, where editors and other providers' clients write parts of it their own way: tools in
 * the flat form of responses, functions and calls without their `type`, Mistral's `any` for a tool that must be called,
 * Hugging Face's `value` for a schema. The same object where there is nothing to change.
 */
export function withChatForms(body: unknown): unknown {
  if (!isJsonObject(body)) return body;
  const forms = {
    messages: each(body['messages'], (message) => {
      const calls = each(message['tool_calls'], typed);
      return calls === message['tool_calls'] ? message : { ...message, tool_calls: calls ?? null };
    }),
    tools: each(body['tools'], nestedTool),
    tool_choice: nestedChoice(body['tool_choice']),
    response_format: schemaFormat(body['response_format']),
  };
  const changed = Object.entries(forms).filter(([field, form]) => form !== body[field]);
  return changed.length === 0 ? body : { ...body, ...Object.fromEntries(changed) };
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

function nestedChoice(choice: Json | undefined): Json | undefined {
  if (choice === 'any') return 'required';
  if (!isJsonObject(choice)) return choice;
  const { type, name } = choice;
  const flat = (type === 'function' || type === 'custom') && typeof name === 'string' && choice[type] == null;
  return flat ? { type, [type]: { name } } : typed(choice);
}

/** Text Generation Inference's form, which Hugging Face's clients make of every schema. */
function schemaFormat(format: Json | undefined): Json | undefined {
  if (!isJsonObject(format) || !isJsonObject(format['value'])) return format;
  const { type, value } = format;
  return type === 'json_object' || type === 'json' ? { type: 'json_object', schema: value } : format;
}

/** Parts that the vocabulary has words for, by who says them; all others may say text alone. */
const partsOf: Readonly<Record<string, readonly string[]>> = {
  user: ['text', 'image_url', 'input_audio', 'file'],
  assistant: ['text', 'refusal'],
  tool: ['text', 'image_url'],
};

/**
 * A chat body without its parts and tools of other kinds (`video_url`, hosted tools), which an upstream may know that gets
 * the body as it was sent, and the first of them. The place of a part stays, so that a fault behind it is named rightly.
 */
export function withoutUnknown(body: unknown): { readonly body: unknown; readonly unknown?: Unsayable | undefined } {
  if (!isJsonObject(body)) return { body };
  let unknown: Unsayable | undefined;
  const isKnown = (one: Json, known: readonly string[], what: string, param: () => string): boolean => {
    const type = isJsonObject(one) ? one['type'] : undefined;
    if (typeof type !== 'string' || known.includes(type)) return true;
    unknown ??= { param: param(), what: `${what} of type '${type.slice(0, 40)}'` };
    return false;
  };
  const parts = (message: JsonObject, index: number): JsonObject => {
    const { role, content } = message;
    if (!Array.isArray(content)) return message;
    const known = partsOf[String(role)] ?? ['text'];
    const kept = content.map((part: Json, at) =>
      isKnown(part, known, 'a part', () => `messages[${index}].content[${at}].type`)
        ? part
        : { type: 'text', text: '' },
    );
    return { ...message, content: kept };
  };
  const { messages, tools } = body;
  const known: Record<string, Json | undefined> = { ...body };
  if (Array.isArray(messages)) {
    known['messages'] = messages.map((one: Json, index) => (isJsonObject(one) ? parts(one, index) : one));
  }
  if (Array.isArray(tools)) {
    const ours = ['function', 'custom'];
    known['tools'] = tools.filter((one: Json, at) => isKnown(one, ours, 'a tool', () => `tools[${at}].type`));
  }
  return { body: known, unknown };
}
