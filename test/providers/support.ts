import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { Provider } from '../../src/core/provider.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';
import { decodeChatRequest } from '../../src/wire/openai/decode.ts';

export const transport = createPooledTransport();
export const never = new AbortController().signal;

/** A client's body as http decodes it, with its bytes at hand. */
export const chatRequest = (body: object, text = JSON.stringify(body)): ChatRequest =>
  decodeChatRequest(JSON.parse(text), { bytes: Buffer.from(text), headers: {} });

export interface Heard {
  readonly events: readonly CompletionEvent[];
  readonly text: string;
  /** The bytes that passed through. */
  readonly wire: string;
  readonly finish: readonly string[];
  readonly usage: Extract<CompletionEvent, { type: 'usage' }>['usage'] | undefined;
  readonly error: GatewayError | undefined;
}

/** Everything a provider says to a request, and how it failed. */
export const hear = (provider: Provider, request: ChatRequest, signal: AbortSignal = never): Promise<Heard> =>
  heardOf(provider.stream(request, { signal }));

export async function heardOf(said: AsyncIterable<CompletionEvent>): Promise<Heard> {
  const events: CompletionEvent[] = [];
  let error: GatewayError | undefined;
  try {
    for await (const event of said) events.push(event);
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown;
    error = thrown;
  }
  const wire = Buffer.concat(events.flatMap((event) => (event.type === 'wire' ? [event.bytes] : []))).toString('utf8');
  return {
    events,
    text:
      wire === '' ? events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('') : contentOf(wire),
    wire,
    finish: events.flatMap((event) => (event.type === 'finish' ? [event.reason] : [])),
    usage: events.flatMap((event) => (event.type === 'usage' ? [event.usage] : [])).at(-1),
    error,
  };
}

/** The text that a client of chat completions would read out of these bytes. */
function contentOf(wire: string): string {
  if (wire.startsWith('{')) return JSON.parse(wire).choices[0].message.content;
  return wire
    .split('\n\n')
    .map((event) =>
      event
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).replace(/^ /, ''))
        .join('\n'),
    )
    .filter((data) => data !== '' && data !== '[DONE]')
    .map((data) => JSON.parse(data).choices?.[0]?.delta?.content ?? '')
    .join('');
}
