import type { Watcher } from '../core/record.ts';
import { type ChatRequest, textOf } from '../core/request.ts';
import type { TraceContext } from '../core/trace.ts';
import { type SpanData, spansOf } from './spans.ts';

/** Takes the spans of one request. Must not throw and must not wait. */
export type SpanExporter = (spans: readonly SpanData[], trace: TraceContext) => void;

export interface TraceOptions {
  /**
   * Put prompts and answers into the spans, as filters left them. Off unless the configuration asks for it. An answer with
   * personal data that filters keep from leaving this machine is not put in.
   */
  readonly content?: boolean;
}

/** Texts longer than this are cut: a span is no archive. */
const maxContentChars = 16_384;

/** One tree of spans per sampled request, exported when it has ended. */
export function traceRequests(exporter: SpanExporter, { content = false }: TraceOptions = {}): Watcher {
  return (request, { trace }) => {
    if (!trace?.sampled) return undefined;
    let seen: ChatRequest | undefined;
    let output = '';
    return {
      ...(content && {
        revised(revised) {
          seen = revised;
        },
      }),
      ...(content && {
        event(event) {
          if (event.type === 'text-delta' && output.length < maxContentChars) output += event.text;
        },
      }),
      ended(record) {
        const personal = seen?.labels?.includes('personal-data') ?? false;
        const contents = seen && { input: inputOf(seen), output: outputOf(personal ? '' : output) };
        exporter(spansOf(record, request, trace, contents), trace);
      },
    };
  };
}

/** Messages in the form of `gen_ai.input.messages`. */
function inputOf({ messages, prompt }: ChatRequest): string {
  const parts = prompt
    ? [{ role: 'user', parts: [{ type: 'text', content: typeof prompt.text === 'string' ? prompt.text : '[tokens]' }] }]
    : messages.map(({ role, content }) => ({ role, parts: [{ type: 'text', content: textOf(content) }] }));
  return JSON.stringify(parts).slice(0, maxContentChars);
}

const outputOf = (text: string): string =>
  JSON.stringify([{ role: 'assistant', parts: [{ type: 'text', content: text.slice(0, maxContentChars) }] }]);
