import { type ChildProcess, fork } from 'node:child_process';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { abortError, throwIfAborted } from '../../src/core/signals.ts';
import { childEntry } from '../../src/engine/entry.ts';
import type { FromOnnxChild, OnnxMethods, OnnxModel, ToOnnxChild } from './messages.ts';

/** One ONNX model in a process of its own, started by its first call and again after it ended. */
export interface OnnxHost {
  /** Events of a stream as they come, or none and the value in the end. Throws GatewayError. */
  call(
    method: keyof OnnxMethods,
    request: unknown,
    signal: AbortSignal,
  ): AsyncGenerator<CompletionEvent, unknown, undefined>;
  state(): 'unloaded' | 'loading' | 'ready';
  pid(): number | undefined;
  close(): Promise<void>;
}

interface Call {
  readonly events: CompletionEvent[];
  ended?: { readonly value: unknown };
  failure?: GatewayError;
  wake?: () => void;
}

export function createOnnxHost(name: string, model: OnnxModel, silenceMs: number): OnnxHost {
  let child: ChildProcess | undefined;
  let starting: Promise<void> | undefined;
  let answered = false;
  let nextId = 1;
  let closed = false;
  const calls = new Map<number, Call>();

  const send = (message: ToOnnxChild) => {
    if (child?.connected) child.send(message, () => {}); // one that is gone is told by its exit
  };

  async function start(): Promise<void> {
    const entry = await childEntry('onnx-child');
    if (closed) throw new GatewayError('model_unavailable', 'The gateway is shutting down.');
    const started = fork(entry, [], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
    });
    child = started;
    let heardMs = performance.now();
    const watchdog = setInterval(
      () => {
        if (performance.now() - heardMs > silenceMs) started.kill('SIGKILL');
      },
      Math.min(1000, silenceMs / 4),
    );
    watchdog.unref();
    started.on('message', (message: FromOnnxChild) => {
      heardMs = performance.now();
      if (message.type !== 'heartbeat') receive(message);
    });
    const lost = (reason: string) => {
      clearInterval(watchdog);
      if (child !== started) return;
      child = undefined;
      starting = undefined;
      answered = false;
      for (const call of calls.values()) {
        call.failure = new GatewayError('engine_failed', `The ONNX process ended during this request (${reason}).`);
        call.wake?.();
      }
    };
    started.once('error', (error) => lost(error.message));
    started.once('exit', (code, signal) => lost(signal ?? `exit code ${code}`));
    send({ type: 'open', name, model });
  }

  function receive(message: Exclude<FromOnnxChild, { type: 'heartbeat' }>): void {
    const call = calls.get(message.id);
    if (!call) return;
    switch (message.type) {
      case 'event':
        answered = true;
        call.events.push(message.event);
        break;
      case 'value':
        answered = true;
        call.ended = { value: message.value };
        break;
      case 'error':
        call.failure = new GatewayError(message.kind, message.message, { param: message.param ?? undefined });
        break;
      default:
        message satisfies never;
    }
    call.wake?.();
  }

  return {
    async *call(method, request, signal) {
      throwIfAborted(signal);
      starting ??= start();
      await starting.catch((error: unknown) => {
        starting = undefined;
        throw error;
      });
      const id = nextId++;
      const call: Call = { events: [] };
      const onAbort = () => {
        send({ type: 'cancel', id }); // here and not in `finally`: nobody may be pulling
        call.failure = abortError(signal);
        call.wake?.();
      };
      calls.set(id, call);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        throwIfAborted(signal);
        if (!child) throw new GatewayError('engine_failed', 'The ONNX process could not be started.');
        send({ type: 'call', id, method, request });
        for (;;) {
          for (let event = call.events.shift(); event; event = call.events.shift()) yield event;
          if (call.ended) return call.ended.value;
          if (call.failure) throw call.failure;
          await new Promise<void>((resolve) => {
            call.wake = resolve;
          });
        }
      } finally {
        signal.removeEventListener('abort', onAbort);
        calls.delete(id);
        if (!call.ended && !call.failure) send({ type: 'cancel', id });
      }
    },
    state: () => (answered ? 'ready' : starting ? 'loading' : 'unloaded'),
    pid: () => child?.pid,
    async close() {
      closed = true;
      await starting?.catch(() => {});
      const ending = child;
      if (!ending || ending.exitCode !== null) return;
      const gone = new Promise<void>((resolve) => ending.once('exit', () => resolve()));
      ending.kill('SIGKILL'); // it holds nothing that would have to be kept
      await gone;
    },
  };
}
