import { Template } from '@huggingface/jinja';
import { bounded, TookTooLong } from '../core/bounded.node.ts';
import type { EnginePrompt, TemplateMessage } from './protocol.ts';

/** The model's own facts that rendering and tokenising a prompt need. */
export interface TemplateModel {
  readonly chatTemplate: string | undefined;
  readonly toolTemplate: string | undefined;
  readonly bosText: string;
  readonly eosText: string;
  /** Texts that the tokeniser would turn into control tokens. */
  readonly controlTexts: readonly string[];
}

/** A piece of a prompt: template text, whose control tokens count, or the caller's text, which never becomes one. */
export interface PromptPiece {
  readonly text: string;
  readonly trusted: boolean;
}

export class TemplateError extends Error {}

const maxRenderMs = 2000;
/** Rendered text may be so many times the text that went in, and a bit. */
const maxGrowth = 8;
const slackCharacters = 2 ** 20;

/** For models whose file has no chat template: ChatML, which most models have seen. */
const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * Makes the prompt of a chat by the model's template. The template came with a file from somewhere: it runs bounded in
 * time and size. Caller text that spells a control token is carried around the template under a placeholder and comes
 * back as an untrusted piece, so that nobody can write a turn of another role into the prompt.
 */
export function createRenderer(model: TemplateModel): (prompt: EnginePrompt & { kind: 'chat' }) => PromptPiece[] {
  const parsed = new Map<string, Template>();
  const controls =
    model.controlTexts.length > 0 ? new RegExp(model.controlTexts.map(escapeRegExp).join('|'), 'g') : null;

  const templateOf = (source: string): Template => {
    let template = parsed.get(source);
    if (!template) {
      template = renderBounded(() => new Template(source));
      if (parsed.size >= 8) parsed.clear(); // a handful of per-request templates at most
      parsed.set(source, template);
    }
    return template;
  };

  return (prompt) => {
    const hasTools = (prompt.tools?.length ?? 0) > 0;
    const source =
      prompt.template ?? (hasTools ? (model.toolTemplate ?? model.chatTemplate) : model.chatTemplate) ?? chatMl;
    const carried: string[] = [];
    const carry = (text: string): string =>
      controls
        ? text.replace(controls, (spelled) => {
            carried.push(spelled);
            return `\uE0F0${carried.length - 1}\uE0F1`;
          })
        : text;
    const messages = prompt.messages.map((message) => mapText(message, carry) as TemplateMessage);
    const variables = {
      ...prompt.variables,
      tools: hasTools ? prompt.tools?.map((tool) => mapText(tool, carry)) : undefined,
      add_generation_prompt: true,
      bos_token: model.bosText,
      eos_token: model.eosText,
    };
    const characters = JSON.stringify(messages).length + JSON.stringify(variables.tools ?? '').length + source.length;
    const template = templateOf(source);
    const text = renderWithFallback(template, messages, variables);
    if (text.length > characters * maxGrowth + slackCharacters) {
      throw new TemplateError('The model’s chat template makes a prompt far larger than the messages.');
    }
    return splitPieces(text, carried, prompt.continueText);
  };
}

/** Many templates refuse a system role, or two turns of one role in a row: those get it folded in and merged. */
function renderWithFallback(
  template: Template,
  messages: readonly TemplateMessage[],
  variables: Record<string, unknown>,
): string {
  try {
    return renderBounded(() => template.render({ ...variables, messages }));
  } catch (error) {
    if (error instanceof TemplateError) throw error;
    const simpler = foldSystem(messages);
    try {
      return renderBounded(() => template.render({ ...variables, messages: simpler }));
    } catch {
      throw new TemplateError(
        `The model’s chat template refuses these messages: ${error instanceof Error ? error.message.slice(0, 200) : 'unknown error'}`,
      );
    }
  }
}

function foldSystem(messages: readonly TemplateMessage[]): TemplateMessage[] {
  const turns: TemplateMessage[] = [];
  let system = '';
  for (const message of messages) {
    if (message.role === 'system') {
      system += `${message.content}\n\n`;
      continue;
    }
    const previous = turns.at(-1);
    if (previous && previous.role === message.role && !message['tool_calls']) {
      turns[turns.length - 1] = { ...previous, content: `${previous.content}\n\n${message.content}` };
    } else turns.push(message);
  }
  const first = turns[0];
  if (system === '') return turns;
  if (first?.role === 'user') return [{ ...first, content: system + first.content }, ...turns.slice(1)];
  return [{ role: 'user', content: system.trim() }, ...turns];
}

function splitPieces(text: string, carried: readonly string[], continueText: string | undefined): PromptPiece[] {
  const pieces: PromptPiece[] = [];
  let at = 0;
  for (const match of text.matchAll(/\uE0F0(\d+)\uE0F1/g)) {
    const spelled = carried[Number(match[1])];
    if (spelled === undefined) continue;
    if (match.index > at) pieces.push({ text: text.slice(at, match.index), trusted: true });
    pieces.push({ text: spelled, trusted: false });
    at = match.index + match[0].length;
  }
  const rest = text.slice(at);
  if (continueText && carried.length === 0) {
    // In one piece with the template's end, so that tokens merge as they did when the beginning was generated.
    pieces.push({ text: rest, trusted: true }, { text: continueText, trusted: false });
    return pieces;
  }
  if (rest !== '') pieces.push({ text: rest, trusted: true });
  if (continueText) pieces.push({ text: continueText, trusted: false });
  return pieces;
}

function renderBounded<T>(work: () => T): T {
  try {
    return bounded(maxRenderMs, work);
  } catch (error) {
    if (!(error instanceof TookTooLong)) throw error;
    throw new TemplateError(`The model’s chat template ran longer than ${maxRenderMs} ms.`);
  }
}

function mapText(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value);
  if (Array.isArray(value)) return value.map((item) => mapText(item, map));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapText(item, map)]));
  }
  return value;
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
