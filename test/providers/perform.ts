import { createProvider } from '../../providers/registry.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { Provider } from '../../src/core/provider.ts';
import { type ChatRequest, type Dialect, readable } from '../../src/core/request.ts';
import type { Transport } from '../../src/core/transport.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import type { WireFormat } from '../../src/wire/format.ts';
import { ollamaChat } from '../../src/wire/ollama/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';

/** One call of one provider, in plain values: it may be made in this process or in another runtime. */
export interface Asked {
  /** The provider's configuration. */
  readonly entry: object;
  readonly dialect: Dialect;
  /** The client's body, as sent. */
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The target's model name, where it is another than the client's. */
  readonly model?: string;
  /** Give the provider the client's own bytes, so that it may pass its own through. */
  readonly bytes: boolean;
}

const formats: readonly WireFormat[] = [openaiChat, openaiResponses, anthropicMessages, ollamaChat];

/** Edge-safe: this runs inside workerd too. Providers are kept, because some remember turns. */
export function createPerformer(transport: Transport) {
  const providers = new Map<string, Provider>();
  const providerOf = (entry: object): Provider => {
    const key = JSON.stringify(entry);
    const known = providers.get(key) ?? createProvider('up', entry, { transport });
    providers.set(key, known);
    return known;
  };
  const prepare = ({ dialect, text, headers = {}, model, bytes }: Asked) => {
    const format = formats.find((each) => each.dialect === dialect);
    if (!format) throw new Error(`There is no format ${dialect}.`);
    const decoded = format.decode(JSON.parse(text), { bytes: new TextEncoder().encode(text), headers });
    const named: ChatRequest = model === undefined ? decoded : { ...decoded, model };
    return { format, request: bytes ? named : readable(named) };
  };
  return {
    events: (asked: Asked, signal: AbortSignal): AsyncIterable<CompletionEvent> =>
      providerOf(asked.entry).stream(prepare(asked).request, { signal }),
    /** What a client of the dialect is sent, through the general path or as bytes. */
    async sent(asked: Asked, signal: AbortSignal): Promise<string> {
      const { format, request } = prepare(asked);
      const encoder = format.encodeStream({ id: '1', requestId: 'r', request, createdAt: 1, target: 'up/m' });
      const decoder = new TextDecoder();
      let text = '';
      let passing = false;
      for await (const event of providerOf(asked.entry).stream(request, { signal })) {
        if (event.type === 'wire') {
          passing = true;
          text += decoder.decode(event.bytes, { stream: true });
        } else if (!passing) text += encoder.push(event);
      }
      return passing ? text : text + encoder.end();
    },
  };
}
