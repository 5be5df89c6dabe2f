import { Miniflare } from 'miniflare';
import { type ErrorKind, GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { describeProviders, type Runtime } from '../providers/conformance.ts';
import { heardOf } from '../providers/support.ts';
import { bundleWorker, compatibility } from './bundle.ts';
import { leavable } from './leavable.ts';
import type { Line } from './workerd/provider-worker.ts';

/** The providers inside workerd, over its own fetch; the upstream is a real server out here. */
async function startWorkerd(): Promise<Runtime> {
  const { code } = await bundleWorker('test/edge/workerd/provider-worker.ts');
  const mf = new Miniflare({
    modules: [{ type: 'ESModule', path: 'worker.mjs', contents: new TextDecoder().decode(code) }],
    ...compatibility,
    cf: false,
    handleRuntimeStdio: () => {},
  });
  const url = await mf.ready;

  async function* lines(call: object, signal?: AbortSignal): AsyncGenerator<Line> {
    const response = await leavable(url, JSON.stringify(call), signal);
    let rest = '';
    for await (const text of response.setEncoding('utf8') as AsyncIterable<string>) {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) yield JSON.parse(part);
    }
  }
  const failed = ({ kind, message, ...more }: NonNullable<Line['error']>) =>
    new GatewayError(kind as ErrorKind, message, more); // told by the same code in there
  async function* events(call: object, signal?: AbortSignal): AsyncGenerator<CompletionEvent> {
    try {
      for await (const { event, error } of lines(call, signal)) {
        if (error) throw failed(error);
        const told = event as CompletionEvent & { bytes?: string }; // bytes are base64 on this way
        yield told.type === 'wire' ? { ...told, bytes: Buffer.from(String(told.bytes), 'base64') } : told;
      }
    } catch (error) {
      if (signal?.aborted) throw new GatewayError('cancelled', 'The test left.', { cause: error });
      throw error;
    }
  }
  return {
    hear: (asked, signal) => heardOf(events({ op: 'hear', asked }, signal)),
    async sent(asked) {
      for await (const { sent, error } of lines({ op: 'sent', asked })) {
        if (error) throw failed(error);
        return sent ?? '';
      }
      throw new Error('the worker said nothing');
    },
    close: () => mf.dispose(),
    leaveMs: 1000, // a busy machine runs workerd late
  };
}

describeProviders(startWorkerd);
