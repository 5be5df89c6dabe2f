import { type ChildProcess, fork } from 'node:child_process';
import { GatewayError } from '../core/errors.ts';
import { throwIfAborted, untilAborted } from '../core/signals.ts';
import { toGatewayError, withoutFolders } from './engine-error.ts';
import { childEntry } from './entry.ts';
import { createGeneration, type Pending } from './generation.ts';
import type { LoadOptions } from './load-options.ts';
import { optimizeEarly } from './optimize.ts';
import type {
  EngineCall,
  EngineModelInfo,
  EngineOutput,
  EngineStats,
  FromChild,
  GenerateRequest,
  SlotState,
  ToChild,
} from './protocol.ts';

/** One model in a child process, as the gateway sees it. */
export interface EngineHost {
  /** Loads the model unless it is there; callers that race share one load. Throws GatewayError model_unavailable. */
  load(signal?: AbortSignal): Promise<EngineModelInfo>;
  /** Makes an answer. The slot is given up when `signal` aborts or the iteration ends. */
  generate(request: GenerateRequest, options: { readonly signal: AbortSignal }): AsyncIterable<EngineOutput>;
  call(call: EngineCall, options: { readonly signal: AbortSignal }): Promise<unknown>;
  state(): EngineState;
  stats(): EngineStats | undefined;
  /** As of the last second; while it works, of the last fifth of one. */
  slots(): readonly SlotState[];
  model(): EngineModelInfo | undefined;
  /** The child's process id while it lives. */
  pid(): number | undefined;
  close(): Promise<void>;
}

export type EngineState = 'unloaded' | 'loading' | 'ready' | 'failed';

export interface HostOptions extends LoadOptions {
  /** The child may be silent for so long: its event loop reports every second. */
  readonly silenceMs?: number;
  readonly onProgress?: (fraction: number) => void;
  readonly onLoaded?: (model: EngineModelInfo, pid: number) => void;
  /** Told when the child ended by itself. */
  readonly onCrash?: (reason: string) => void;
}

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: GatewayError): void;
}

/**
 * llama.cpp's first compute thread is the libuv worker that took the call, and it starts the others anew for every step.
 * With several workers each step begins on another of them, on a core chosen anew, and often two compute threads spin on
 * one core until the kernel moves one: steps of 8 ms took 30. Calls never overlap, so one worker is enough.
 */
const oneNativeThread = { UV_THREADPOOL_SIZE: '1' };

/** A native call may last so long before the child counts as hung and is ended. */
const hangMs = 60_000;
/** A load may go without progress for so long. */
const loadMs = 120_000;
const defaultSilenceMs = 15_000;

export function createEngineHost(options: HostOptions): EngineHost {
  let child: ChildProcess | undefined;
  let loading: Promise<EngineModelInfo> | undefined;
  let info: EngineModelInfo | undefined;
  let stats: EngineStats | undefined;
  let slots: readonly SlotState[] = [];
  let state: EngineState = 'unloaded';
  let nextId = 1;
  let lastHeardMs = 0;
  let watchdog: NodeJS.Timeout | undefined;
  let closed = false;
  const generations = new Map<number, Pending>();
  const calls = new Map<number, PendingCall>();

  const send = (message: ToChild) => {
    if (child?.connected) child.send(message, () => {}); // a child that is gone is told by its exit
  };

  /** Forgets the child and fails what it was doing. */
  function lost(process: ChildProcess, reason: string): void {
    if (process !== child) return;
    child = undefined;
    info = undefined;
    stats = undefined;
    slots = [];
    loading = undefined;
    if (state !== 'failed') state = 'unloaded';
    clearInterval(watchdog);
    const message = `The engine process ended during this request (${withoutFolders(reason)}).`;
    const error = () => new GatewayError('engine_failed', message);
    const [lostGenerations, lostCalls] = [[...generations.values()], [...calls.values()]];
    generations.clear();
    calls.clear();
    for (const pending of lostGenerations) pending.fail(error());
    for (const pending of lostCalls) pending.reject(error());
  }

  async function start(): Promise<EngineModelInfo> {
    const path = await childEntry('engine-child');
    if (closed) throw new GatewayError('model_unavailable', 'The engine is shutting down.');
    optimizeEarly();
    const started = fork(path, [], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, ...oneNativeThread },
    });
    // llama.cpp writes what it reads there (grammars, for one): only the line of what ends it is kept, for the reason.
    let lastWords = '';
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      lastWords = /^.*(?:GGML_ASSERT|FATAL ERROR|std::bad_alloc).*$/m.exec(text)?.[0].slice(0, 300) ?? lastWords;
    });
    let killed = false;
    const kill = () => {
      killed = true;
      started.kill('SIGKILL');
    };
    child = started;
    lastHeardMs = performance.now();
    const { onProgress, onLoaded, onCrash, silenceMs = defaultSilenceMs, ...load } = options;
    return new Promise<EngineModelInfo>((resolve, reject) => {
      const fail = (message: string) => {
        state = 'failed';
        reject(new GatewayError('model_unavailable', withoutFolders(message)));
      };
      started.on('message', (message: FromChild) => {
        lastHeardMs = performance.now();
        switch (message.type) {
          case 'load-progress':
            onProgress?.(message.fraction);
            return;
          case 'loaded':
            info = message.model;
            stats = message.stats;
            slots = message.slots;
            state = 'ready';
            onLoaded?.(message.model, started.pid ?? 0);
            resolve(message.model);
            return;
          case 'load-failed':
            fail(message.error.message);
            kill();
            return;
          case 'outputs':
            stats = message.stats ?? stats;
            slots = message.slots ?? slots;
            for (const output of message.outputs) generations.get(output.id)?.output(output);
            return;
          case 'heartbeat':
            stats = message.stats;
            slots = message.slots;
            if (message.busyMs > hangMs) {
              onCrash?.(`hung for ${Math.round(message.busyMs)} ms`);
              kill();
            }
            return;
          case 'result':
            calls.get(message.id)?.resolve(message.value);
            return;
          case 'error':
            calls.get(message.id)?.reject(toGatewayError(message.error));
            return;
          default:
            message satisfies never;
        }
      });
      started.once('error', (error) => {
        fail(`The engine process could not be started: ${error.message}`);
        lost(started, error.message);
      });
      started.once('exit', (code, signal) => {
        // Whoever else sends it: on Linux most often the kernel, to the process that takes the most memory.
        const words = signal === 'SIGKILL' && !killed && !closed ? 'most likely out of memory' : lastWords;
        const reason = `${signal ?? `exit code ${code}`}${words === '' ? '' : `: ${words}`}`;
        if (state === 'loading') fail(`The engine process ended while loading the model (${reason}).`);
        else if (state === 'ready' && !closed) onCrash?.(reason);
        lost(started, reason);
      });
      watchdog = setInterval(
        () => {
          const silentMs = performance.now() - lastHeardMs;
          if (silentMs < (state === 'loading' ? loadMs : silenceMs)) return;
          if (state !== 'loading') onCrash?.(`silent for ${Math.round(silentMs)} ms`);
          kill();
        },
        Math.min(1000, silenceMs / 4),
      );
      watchdog.unref();
      send({ type: 'load', options: load });
    });
  }

  function load(signal?: AbortSignal): Promise<EngineModelInfo> {
    if (closed) return Promise.reject(new GatewayError('model_unavailable', 'The engine is shutting down.'));
    if (!loading) {
      state = 'loading';
      const attempt = start();
      loading = attempt;
      attempt.catch(() => {
        if (loading === attempt) loading = undefined;
      });
    }
    return signal ? untilAborted(loading, signal) : loading;
  }

  async function call(question: EngineCall, { signal }: { signal: AbortSignal }): Promise<unknown> {
    throwIfAborted(signal);
    await load(signal);
    const id = nextId++;
    const answer = new Promise<unknown>((resolve, reject) => {
      calls.set(id, { resolve, reject });
      send({ type: 'call', id, call: question });
    });
    try {
      return await untilAborted(answer, signal);
    } finally {
      calls.delete(id);
    }
  }

  return {
    load,
    generate: (request, { signal }) =>
      createGeneration(request, signal, { id: nextId++, pending: generations, load, send }),
    call,
    state: () => state,
    stats: () => stats,
    slots: () => slots,
    model: () => info,
    pid: () => child?.pid,
    async close() {
      closed = true;
      clearInterval(watchdog);
      const ending = child;
      if (!ending || ending.exitCode !== null) return;
      const gone = new Promise<void>((resolve) => ending.once('exit', () => resolve()));
      if (state === 'ready') send({ type: 'shutdown' });
      else ending.kill('SIGKILL');
      const force = setTimeout(() => ending.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(force);
    },
  };
}
