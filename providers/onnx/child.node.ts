import { toGatewayError } from '../../src/core/errors.ts';
import type { FromOnnxChild, ToOnnxChild } from './messages.ts';
import { createOnnxRuntime } from './runtime.node.ts';

/** The child of one ONNX model: whatever native code does to it costs its own requests only. It ends with its parent. */
const send = (message: FromOnnxChild) => {
  if (process.connected) process.send?.(message);
};
const calls = new Map<number, AbortController>();
let runtime: ReturnType<typeof createOnnxRuntime> | undefined;

process.on('disconnect', () => process.exit(0));
// A terminal's Ctrl-C reaches the whole group; the parent decides when this process ends.
process.on('SIGINT', () => {});
process.on('message', (message: ToOnnxChild) => {
  switch (message.type) {
    case 'open':
      runtime = createOnnxRuntime({ [message.name]: message.model });
      return;
    case 'call':
      void perform(message);
      return;
    case 'cancel':
      calls.get(message.id)?.abort();
      return;
    default:
      message satisfies never;
  }
});
setInterval(() => send({ type: 'heartbeat' }), 1000);

async function perform({ id, method, request }: Extract<ToOnnxChild, { type: 'call' }>): Promise<void> {
  const abort = new AbortController();
  calls.set(id, abort);
  const options = { signal: abort.signal };
  // The gateway's side of the same methods wrote the request.
  const asked = request as never;
  try {
    if (!runtime) throw new Error('The model was not named.');
    if (method === 'stream') {
      for await (const event of runtime.stream(asked, options)) send({ type: 'event', id, event });
      send({ type: 'value', id, value: undefined });
    } else send({ type: 'value', id, value: await runtime[method](asked, options) });
  } catch (error) {
    const { kind, message, param } = toGatewayError(error);
    send({ type: 'error', id, kind, message, param });
  } finally {
    calls.delete(id);
  }
}
