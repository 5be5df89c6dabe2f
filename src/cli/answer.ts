import { type Command, InvalidArgumentError } from 'commander';
import type {
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageParam,
} from 'openai/resources/chat/completions';
import type { Cli } from './cli.ts';
import { type Connection, explain } from './connect.ts';
import { wholeNumber } from './flags.ts';
import { formatDuration } from './format.ts';

export type Turn = ChatCompletionMessageParam;

/** How an answer is to be made, as flags and `/set` give it; absent means the server's own default. */
export interface AnswerOptions {
  readonly temperature?: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly json?: boolean;
  /** Further fields of the request, over all others. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export interface Answer {
  readonly text: string;
  readonly finishReason: string | undefined;
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
  readonly completionTokens: number | undefined;
  readonly ttftMs: number;
  readonly totalMs: number;
}

const ratio = (most: number) => (text: string) => {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= most)) {
    throw new InvalidArgumentError(`A number from 0 to ${most}.`);
  }
  return value;
};

/** What may be said of an answer on the command line. */
export const withAnswerFlags = (command: Command): Command =>
  command
    .option('-s, --system <text>', 'system prompt')
    .option('-t, --temperature <number>', 'randomness, 0 to 2', ratio(2))
    .option('--top-p <number>', 'nucleus sampling, 0 to 1', ratio(1))
    .option('-n, --max-tokens <count>', 'most tokens of an answer', wholeNumber(1))
    .option('--seed <number>', 'the same seed gives the same answer', wholeNumber(0));

/** Streams one answer; `show` gets its text as it comes, `think` the reasoning before it. */
export async function streamAnswer(
  { client, baseUrl, model }: Connection,
  messages: readonly Turn[],
  options: AnswerOptions,
  { signal, show, think }: { signal: AbortSignal; show: (text: string) => void; think?: (text: string) => void },
): Promise<Answer> {
  const body: ChatCompletionCreateParamsStreaming = {
    model,
    messages: [...messages],
    stream: true,
    stream_options: { include_usage: true },
    ...(options.temperature === undefined ? {} : { temperature: options.temperature }),
    ...(options.topP === undefined ? {} : { top_p: options.topP }),
    ...(options.maxTokens === undefined ? {} : { max_tokens: options.maxTokens }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.stop === undefined ? {} : { stop: [...options.stop] }),
    ...(options.json ? { response_format: { type: 'json_object' } } : {}),
    ...options.extra,
  };
  const started = performance.now();
  let firstAt: number | undefined;
  let text = '';
  let answer: Pick<Answer, 'finishReason' | 'promptTokens' | 'cachedTokens' | 'completionTokens'> = {
    ...{ finishReason: undefined, promptTokens: undefined, cachedTokens: undefined, completionTokens: undefined },
  };
  try {
    for await (const { choices, usage } of await client.chat.completions.create(body, { signal })) {
      const [choice] = choices;
      const delta = choice?.delta as { content?: string | null; reasoning_content?: string | null } | undefined; // vLLM's field too
      if (delta?.content || delta?.reasoning_content) firstAt ??= performance.now();
      if (delta?.reasoning_content) think?.(printable(delta.reasoning_content));
      if (delta?.content) {
        text += delta.content;
        show(printable(delta.content));
      }
      if (choice?.finish_reason) answer = { ...answer, finishReason: choice.finish_reason };
      if (usage) {
        answer = {
          ...answer,
          promptTokens: usage.prompt_tokens,
          completionTokens: usage.completion_tokens,
          cachedTokens: usage.prompt_tokens_details?.cached_tokens,
        };
      }
    }
  } catch (error) {
    if (!signal.aborted) throw explain(error, baseUrl);
  }
  if (signal.aborted) answer = { ...answer, finishReason: 'stopped' }; // the client ends quietly then
  const ended = performance.now();
  return { text, ...answer, ttftMs: (firstAt ?? ended) - started, totalMs: ended - started };
}

/** The line that `--verbose` and `/stats` show. */
export function formatStats({ paint }: Cli, answer: Answer): string {
  const decodeMs = answer.totalMs - answer.ttftMs;
  const tokens = answer.completionTokens;
  const rate = tokens !== undefined && tokens > 1 && decodeMs > 0 ? ((tokens - 1) / decodeMs) * 1000 : undefined;
  const cached = answer.cachedTokens ? ` (${answer.cachedTokens} cached)` : '';
  const parts = [
    answer.promptTokens === undefined ? '' : `prompt ${answer.promptTokens} tokens${cached}`,
    tokens === undefined ? '' : `answer ${tokens} tokens`,
    `first token ${formatDuration(answer.ttftMs)}`,
    rate === undefined ? '' : `${rate.toFixed(1)} tokens/s`,
    `total ${formatDuration(answer.totalMs)}`,
    answer.finishReason ? `finish ${answer.finishReason}` : '',
  ];
  return paint.dim(parts.filter(Boolean).join(' · '));
}

/** Without control characters, so that an answer cannot move the cursor, set the title or fill the clipboard. */
const printable = (text: string): string => text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '');
