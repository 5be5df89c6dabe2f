import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { type ChatRequest, textOf } from '../../src/core/request.ts';
import { abortError, throwIfAborted } from '../../src/core/signals.ts';
import { createStopMatcher } from '../../src/engine/stop.ts';
import { shorten } from '../shared/shorten.ts';
import type { Classifier, Embedder, Generator, Transformers } from '../shared/transformers.ts';
import type { OnnxMethods, OnnxModel } from './messages.ts';

const defaultMaxTokens = 256;

/**
 * The models themselves, as they run in the child: small ones for generation, embeddings and classification, one call at
 * a time each. Throws GatewayError model_unavailable | unsupported | invalid_request.
 */
export function createOnnxRuntime(
  models: Readonly<Record<string, OnnxModel>>,
  load: () => Promise<Transformers> = importTransformers,
): Required<OnnxMethods> {
  const pipelines = new Map<string, Promise<unknown>>();
  /** The last call per model: a session serves one at a time. */
  const last = new Map<string, Promise<unknown>>();

  /** Loads a model once for all who race for it; a failure is tried again by the next. */
  async function open<T>(id: string): Promise<T> {
    const model = models[id];
    if (!model) throw new GatewayError('model_not_found', `There is no ONNX model "${id}".`, { param: 'model' });
    let pipeline = pipelines.get(id);
    if (!pipeline) {
      pipeline = openPipeline(id, model);
      pipelines.set(id, pipeline);
      pipeline.catch(() => pipelines.delete(id));
    }
    return pipeline as Promise<T>; // the task decides what the library returns
  }

  async function openPipeline(id: string, { path, task, dtype = 'fp32' }: OnnxModel): Promise<unknown> {
    if (!(await stat(path).catch(() => undefined))?.isDirectory()) {
      throw new GatewayError('model_unavailable', `The ONNX model "${id}" is not there: there is no folder ${path}.`);
    }
    const library = await load();
    library.env.allowRemoteModels = false; // what is not in the folder is not fetched from anywhere
    library.env.localModelPath = dirname(path);
    try {
      return await library.pipeline(task, basename(path), { dtype, device: 'cpu', local_files_only: true });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message.slice(0, 300) : String(cause);
      throw new GatewayError('model_unavailable', `The ONNX model "${id}" could not be loaded: ${reason}`, { cause });
    }
  }

  async function inTurn<T>(id: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const turn = (last.get(id) ?? Promise.resolve()).then(() => {
      throwIfAborted(signal);
      return work();
    });
    last.set(
      id,
      turn.catch(() => {}),
    );
    return turn;
  }

  return {
    async *stream(request, { signal }) {
      const generator = await open<Generator>(request.model);
      const library = await load();
      const pieces = createQueue<string>();
      const interrupt = new library.InterruptableStoppingCriteria();
      const onAbort = () => {
        interrupt.interrupt();
        pieces.fail(abortError(signal));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      let completionTokens = 0;
      const prompt = promptOf(request, generator);
      const promptTokens = countTokens(generator, prompt);
      const maxTokens = request.maxTokens ?? defaultMaxTokens;
      const running = inTurn(request.model, signal, () =>
        generator(prompt, {
          max_new_tokens: maxTokens,
          ...samplingOf(request),
          return_full_text: false,
          stopping_criteria: interrupt,
          streamer: new library.TextStreamer(generator.tokenizer, {
            skip_prompt: true,
            skip_special_tokens: true,
            callback_function: (text) => pieces.push(text),
            token_callback_function: (tokens) => {
              completionTokens += tokens.length;
            },
          }),
        }),
      );
      running.then(pieces.end, (cause: unknown) =>
        pieces.fail(
          cause instanceof GatewayError
            ? cause
            : new GatewayError('engine_failed', 'The ONNX runtime failed on this request.', { cause }),
        ),
      );
      try {
        yield* answer(
          pieces,
          request,
          () => completionTokens >= maxTokens,
          () => interrupt.interrupt(),
        );
        yield { type: 'usage', usage: { promptTokens, completionTokens } };
      } finally {
        signal.removeEventListener('abort', onAbort);
        interrupt.interrupt();
      }
    },
    async embed({ model, inputs, dimensions }, { signal }) {
      const embedder = await open<Embedder>(model);
      const texts = inputs.map((input, i) => {
        if (typeof input === 'string') return input;
        throw new GatewayError('unsupported', 'This model takes text, not token ids.', { param: `input[${i}]` });
      });
      const output = await inTurn(model, signal, () => embedder(texts, { pooling: 'mean', normalize: true }));
      const vectors = output.tolist().map((vector) => shorten(vector, dimensions));
      const promptTokens = texts.reduce((sum, text) => sum + countTokens(embedder, text), 0);
      return { vectors, usage: { promptTokens, completionTokens: 0 } };
    },
    async moderate({ model = '', inputs }, { signal }) {
      const classifier = await open<Classifier>(model);
      const { threshold = 0.5 } = models[model] ?? {};
      const results = [];
      for (const input of inputs) {
        const labels = await inTurn(model, signal, () => classifier(input, { top_k: null }));
        const scores = Object.fromEntries(labels.map(({ label, score }) => [label, score]));
        const categories = Object.fromEntries(labels.map(({ label, score }) => [label, score >= threshold]));
        results.push({ flagged: Object.values(categories).some(Boolean), categories, scores });
      }
      return { model, results };
    },
  };
}

async function* answer(
  pieces: AsyncIterable<string>,
  request: ChatRequest,
  reachedLimit: () => boolean,
  stopNow: () => void,
): AsyncGenerator<CompletionEvent> {
  const matcher = createStopMatcher(request.stop);
  for await (const piece of pieces) {
    const { text, stopped } = matcher.push(piece);
    if (text !== '') yield { type: 'text-delta', choice: 0, text };
    if (stopped !== undefined) {
      stopNow();
      yield { type: 'finish', choice: 0, reason: 'stop', stopSequence: stopped };
      return;
    }
  }
  const rest = matcher.flush();
  if (rest !== '') yield { type: 'text-delta', choice: 0, text: rest };
  yield { type: 'finish', choice: 0, reason: reachedLimit() ? 'length' : 'stop' };
}

function promptOf(request: ChatRequest, { tokenizer }: Generator): string {
  if (request.prompt) {
    if (typeof request.prompt.text === 'string') return request.prompt.text;
    throw new GatewayError('unsupported', 'This model takes text, not token ids.', { param: 'prompt' });
  }
  const messages = request.messages.map(({ role, content }) => ({ role, content: textOf(content) }));
  if (tokenizer.chat_template) {
    return String(tokenizer.apply_chat_template(messages, { tokenize: false, add_generation_prompt: true }));
  }
  return messages.map(({ content }) => content).join('\n');
}

function samplingOf({ sampling }: ChatRequest): Record<string, unknown> {
  const temperature = sampling.temperature ?? 0.8;
  if (temperature <= 0) return { do_sample: false };
  return {
    do_sample: true,
    temperature,
    ...(sampling.topP === undefined ? {} : { top_p: sampling.topP }),
    ...(sampling.topK === undefined ? {} : { top_k: sampling.topK }),
    ...(sampling.repeatPenalty === undefined ? {} : { repetition_penalty: sampling.repeatPenalty }),
  };
}

const countTokens = ({ tokenizer }: { readonly tokenizer: Generator['tokenizer'] }, text: string): number =>
  tokenizer.encode(text).length;

/** Pushed on one side, pulled on the other; bounded by the most tokens of an answer. */
function createQueue<T>(): AsyncIterable<T> & { push(item: T): void; end(): void; fail(error: unknown): void } {
  const items: T[] = [];
  let ended = false;
  let failure: unknown;
  let wake: (() => void) | undefined;
  const notify = () => {
    wake?.();
    wake = undefined;
  };
  return {
    push(item) {
      items.push(item);
      notify();
    },
    end() {
      ended = true;
      notify();
    },
    fail(error) {
      failure ??= error;
      ended = true;
      notify();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (items.length > 0) yield items.shift() as T; // just counted
        if (failure) throw failure;
        if (ended) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

async function importTransformers(): Promise<Transformers> {
  try {
    // The optional package's own types are far wider than what is used here.
    return (await import('@huggingface/transformers')) as unknown as Transformers;
  } catch (cause) {
    throw new GatewayError(
      'model_unavailable',
      'ONNX models need the optional package @huggingface/transformers: npm install @huggingface/transformers.',
      { cause },
    );
  }
}
