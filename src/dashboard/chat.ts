import OpenAI from 'openai';
import type { ExplainedToken } from '../observability/history.ts';
import { openai } from './api.ts';

export interface ShownCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

export interface AnswerStats {
  readonly ttftMs?: number;
  readonly totalMs?: number;
  readonly tokens?: number;
  readonly promptTokens?: number;
  readonly tokensPerSecond?: number;
}

export interface Turn {
  readonly role: 'user' | 'assistant' | 'tool';
  readonly text: string;
  readonly toolCallId?: string;
  readonly thinking?: string;
  readonly tokens?: readonly ExplainedToken[];
  readonly calls?: readonly ShownCall[];
  /** The answer's id, for feedback and explanation. */
  readonly id?: string;
  readonly finish?: string;
  readonly error?: string;
  readonly stats?: AnswerStats;
}

/** What the side panel says; empty fields are left to the model. */
export interface Parameters {
  readonly system: string;
  readonly temperature: string;
  readonly topP: string;
  readonly maxTokens: string;
  readonly seed: string;
  readonly stop: string;
  readonly tools: string;
  readonly schema: string;
  readonly probabilities: boolean;
}

export const defaultParameters: Parameters = {
  system: '',
  temperature: '0.7',
  topP: '',
  maxTokens: '512',
  seed: '',
  stop: '',
  tools: '',
  schema: '',
  probabilities: true,
};

type Body = OpenAI.Chat.ChatCompletionCreateParamsStreaming;

/** The request body for these turns. Throws an Error that says which field is not JSON. */
export function bodyOf(model: string, turns: readonly Turn[], parameters: Parameters): Body {
  const { system, temperature, topP, maxTokens, seed, stop, tools, schema, probabilities } = parameters;
  const number = (name: string, text: string) => (text.trim() === '' ? {} : { [name]: Number(text) });
  return {
    model,
    messages: [
      ...(system.trim() ? [{ role: 'system' as const, content: system }] : []),
      ...turns.filter(({ error }) => !error).map(messageOf),
    ],
    stream: true,
    stream_options: { include_usage: true },
    ...number('temperature', temperature),
    ...number('top_p', topP),
    ...number('max_tokens', maxTokens),
    ...number('seed', seed),
    ...(stop && { stop: stop.split('\n').filter(Boolean) }),
    ...(tools.trim() && { tools: json('Tools', tools) as Body['tools'] & object }), // checked by the gateway
    ...(schema.trim() && {
      response_format: {
        type: 'json_schema' as const,
        json_schema: { name: 'answer', strict: true, schema: json('JSON schema', schema) as Record<string, unknown> },
      },
    }),
    ...(probabilities && { logprobs: true, top_logprobs: 4 }),
  };
}

function messageOf({ role, text, toolCallId, calls }: Turn): OpenAI.Chat.ChatCompletionMessageParam {
  if (role === 'user') return { role, content: text };
  if (role === 'tool') return { role, content: text, tool_call_id: toolCallId ?? '' };
  return {
    role,
    content: text,
    ...(calls &&
      calls.length > 0 && {
        tool_calls: calls.map((call) => ({
          id: call.id,
          type: 'function' as const,
          function: { name: call.name, arguments: call.arguments },
        })),
      }),
  };
}

function json(name: string, text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch {
    throw new Error(`${name}: this is not JSON.`);
  }
}

/** Streams one answer; `show` gets the turn as it grows, and last as it ended, whichever way. */
export async function answer(body: Body, show: (turn: Turn) => void, signal: AbortSignal): Promise<void> {
  const startedMs = performance.now();
  let turn: Turn = { role: 'assistant', text: '' };
  const tokens: ExplainedToken[] = [];
  let firstMs: number | undefined;
  let deltas = 0;
  const update = (change: Partial<Turn>) => {
    turn = { ...turn, ...change };
  };
  let painting = false;
  const paint = () => {
    if (painting) return;
    painting = true;
    requestAnimationFrame(() => {
      painting = false;
      show(turn);
    });
  };
  try {
    const stream = await begin(body, signal);
    for await (const chunk of stream) {
      update({ id: chunk.id });
      if (chunk.usage) {
        update({
          stats: { ...turn.stats, tokens: chunk.usage.completion_tokens, promptTokens: chunk.usage.prompt_tokens },
        });
      }
      for (const { delta, finish_reason: finish, logprobs } of chunk.choices) {
        const thinking = (delta as { reasoning_content?: string }).reasoning_content; // not in OpenAI's own types
        if (delta.content || thinking || delta.tool_calls) {
          firstMs ??= performance.now();
          deltas++;
        }
        if (delta.content) update({ text: turn.text + delta.content });
        if (delta.refusal) update({ text: turn.text + delta.refusal });
        if (thinking) update({ thinking: (turn.thinking ?? '') + thinking });
        if (delta.tool_calls) update({ calls: joined(turn.calls ?? [], delta.tool_calls) });
        for (const token of logprobs?.content ?? []) {
          tokens.push({
            token: token.token,
            probability: Math.exp(token.logprob),
            alternatives: token.top_logprobs.map((other) => ({
              token: other.token,
              probability: Math.exp(other.logprob),
            })),
          });
        }
        if (logprobs?.content) update({ tokens: [...tokens] });
        if (finish) update({ finish });
      }
      if (firstMs !== undefined)
        update({ stats: { ...turn.stats, ...speed(startedMs, firstMs, turn.stats?.tokens ?? deltas) } });
      paint();
    }
  } catch (error) {
    // before the first chunk only the head tells which request it was
    const id = turn.id ?? (error instanceof OpenAI.APIError ? error.requestID : undefined);
    if (!signal.aborted) update({ error: error instanceof Error ? error.message : String(error), ...(id && { id }) });
  }
  if (signal.aborted) update({ finish: 'stopped' }); // the client ends an aborted stream without a word
  const endMs = performance.now();
  update({ stats: { ...turn.stats, totalMs: endMs - startedMs, tokens: turn.stats?.tokens ?? deltas } });
  show(turn);
}

/** Not every model tells probabilities; one that refuses is asked again without. */
async function begin(body: Body, signal: AbortSignal) {
  const { chat } = openai();
  if (!body.logprobs) return chat.completions.create(body, { signal });
  try {
    return await chat.completions.create(body, { signal, headers: { 'x-tidegate-explain': 'tokens' } });
  } catch (error) {
    if (!(error instanceof OpenAI.APIError) || error.status !== 400 || !/logprobs/.test(error.message)) throw error;
    const { logprobs: _, top_logprobs: __, ...plain } = body;
    return chat.completions.create(plain, { signal });
  }
}

function speed(startedMs: number, firstMs: number, tokens: number): AnswerStats {
  const seconds = (performance.now() - firstMs) / 1000;
  return { ttftMs: firstMs - startedMs, ...(tokens > 1 && seconds > 0 && { tokensPerSecond: (tokens - 1) / seconds }) };
}

function joined(
  calls: readonly ShownCall[],
  deltas: readonly OpenAI.Chat.ChatCompletionChunk.Choice.Delta.ToolCall[],
): ShownCall[] {
  const next = [...calls];
  for (const { index, id, function: called } of deltas) {
    const last = next[index];
    next[index] = {
      id: id ?? last?.id ?? '',
      name: called?.name ?? last?.name ?? '',
      arguments: (last?.arguments ?? '') + (called?.arguments ?? ''),
    };
  }
  return next;
}
