import { toGatewayError } from '../../../src/core/errors.ts';
import { createFetchTransport } from '../../../src/transport/fetch.ts';
import { type Asked, createPerformer } from '../../providers/perform.ts';

/** One line of the answer: an event (bytes as base64), how it failed, or what a client would be sent. */
export interface Line {
  readonly event?: object;
  readonly error?: {
    readonly kind: string;
    readonly message: string;
    readonly param?: string;
    readonly retryAfterMs?: number;
  };
  readonly sent?: string;
}

const performer = createPerformer(createFetchTransport());

/** A worker for tests: makes one provider call as told and streams what the provider said, line by line. */
export default {
  async fetch(request: Request): Promise<Response> {
    const { op, asked } = (await request.json()) as { op: 'hear' | 'sent'; asked: Asked }; // sent by conformance.test.ts
    const client = new AbortController();
    request.signal.addEventListener('abort', () => client.abort());
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        const write = (line: Line) => controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
        try {
          if (op === 'sent') write({ sent: await performer.sent(asked, client.signal) });
          else {
            for await (const event of performer.events(asked, client.signal)) {
              const bytes = event.type === 'wire' ? { bytes: btoa(String.fromCharCode(...event.bytes)) } : {};
              write({ event: { ...event, ...bytes } });
            }
          }
        } catch (thrown) {
          const { kind, message, param, retryAfterMs } = toGatewayError(thrown);
          write({
            error: {
              kind,
              message,
              ...(param != null && { param }),
              ...(retryAfterMs !== undefined && { retryAfterMs }),
            },
          });
        }
        controller.close();
      },
      cancel: () => client.abort(),
    });
    return new Response(body);
  },
};
