import type { CompletionEvent, Usage } from '../core/event.ts';
import type { ChatRequest } from '../core/request.ts';
import type { EngineHost } from './host.ts';
import type { OutputModel } from './output/compile.ts';
import type { OutputParser } from './output/parser.ts';
import type { EngineOutput, EngineUsage } from './protocol.ts';
import { promptOf, withTemplate } from './request.ts';

/** Turns what the engine says into events; with a parser each choice's text is read for calls and thinking. */
export function createAnswerReader(
  createParser: ((choice: number) => OutputParser) | undefined,
): (output: EngineOutput) => readonly CompletionEvent[] {
  const parsers = new Map<number, OutputParser>();
  const parserOf = (choice: number): OutputParser | undefined => {
    const parser = parsers.get(choice) ?? createParser?.(choice);
    if (parser) parsers.set(choice, parser);
    return parser;
  };
  const eventsOf = (output: EngineOutput): readonly CompletionEvent[] => {
    if (createParser && output.type === 'text') {
      return parserOf(output.choice)?.push(output.text, output.logprobs) ?? [];
    }
    if (createParser && output.type === 'finish') {
      return parserOf(output.choice)?.finish(output.reason, output.stopSequence) ?? [];
    }
    const event = toEvent(output);
    if (event?.type !== 'usage') return event ? [event] : [];
    let reasoningTokens = 0;
    for (const parser of parsers.values()) reasoningTokens += parser.reasoningPieces;
    return [reasoningTokens > 0 ? { ...event, usage: { ...event.usage, reasoningTokens } } : event];
  };
  /** Waits for what it is the start of: by itself it would look like an answer that has begun. */
  let start: CompletionEvent | undefined;
  return (output) => {
    if (output.type === 'prompt') {
      const { promptTokens, cachedTokens } = output;
      start = { type: 'start', prompt: { promptTokens, cachedTokens } };
      return [];
    }
    const events = eventsOf(output);
    if (!start || events.length === 0) return events;
    const all = [start, ...events];
    start = undefined;
    return all;
  };
}

const thinkingPrompts = new WeakMap<EngineHost, Map<string, Promise<boolean>>>();

/**
 * What of a model decides how its output is read; whether its prompt opens the thinking is found by rendering one.
 * `template` stands in for the model's own.
 */
export async function outputModelOf(
  host: EngineHost,
  request: ChatRequest,
  signal: AbortSignal,
  template?: string,
): Promise<OutputModel> {
  const own = await host.load(signal);
  const { chatTemplate, toolTemplate } =
    template === undefined ? own : { chatTemplate: template, toolTemplate: undefined };
  const model = { chatTemplate, toolTemplate, ...(template === undefined ? {} : { replaced: true }) };
  if (!chatTemplate?.includes('<think>')) return { ...model, beginsThinking: false };
  const plain = promptOf({ ...request, messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }] });
  const prompt = withTemplate(plain, template);
  const key = prompt.kind === 'chat' ? JSON.stringify([prompt.variables, template]) : '';
  const known = thinkingPrompts.get(host) ?? new Map<string, Promise<boolean>>();
  thinkingPrompts.set(host, known);
  if (known.size > 64) known.clear();
  const begins =
    known.get(key) ??
    host
      .call({ method: 'render', prompt }, { signal: new AbortController().signal })
      .then((text) => String(text).trimEnd().endsWith('<think>'))
      .catch(() => false);
  known.set(key, begins);
  return { ...model, beginsThinking: await begins };
}

function toEvent(output: EngineOutput): CompletionEvent | undefined {
  switch (output.type) {
    case 'text':
      return {
        type: 'text-delta',
        choice: output.choice,
        text: output.text,
        ...(output.logprobs ? { logprobs: output.logprobs } : {}),
      };
    case 'progress':
      return { type: 'progress', processedTokens: output.processedTokens, totalTokens: output.totalTokens };
    case 'finish':
      return {
        type: 'finish',
        choice: output.choice,
        reason: output.reason,
        ...(output.stopSequence === undefined ? {} : { stopSequence: output.stopSequence }),
      };
    case 'done':
      return { type: 'usage', usage: toUsage(output.usage) };
    case 'prompt': // told with the first event
    case 'failed': // thrown by the host
      return undefined;
    default:
      return output satisfies never;
  }
}

function toUsage({ acceptedDraftTokens, rejectedDraftTokens, ...usage }: EngineUsage): Usage {
  const drafted = acceptedDraftTokens + rejectedDraftTokens > 0;
  return {
    ...usage,
    ...(drafted
      ? { acceptedPredictionTokens: acceptedDraftTokens, rejectedPredictionTokens: rejectedDraftTokens }
      : {}),
  };
}
