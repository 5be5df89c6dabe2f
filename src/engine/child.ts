import { createEmbedder, type Embedder } from './embed.ts';
import { type LlamaModel, loadLlamaModel } from './llama.ts';
import type { LoadOptions } from './load-options.ts';
import { optimizeEarly } from './optimize.ts';
import type { EngineCall, EngineError, EngineOutput, EngineReport, FromChild, ToChild } from './protocol.ts';
import { createRunner, type Runner } from './runner.ts';
import { readModelFile } from './shards.ts';
import { TemplateError } from './template.ts';
import { checkTokens, PromptError } from './tokenize.ts';

/**
 * The engine child: one model, one context, one loop. It ends with its parent, and whatever native code does to it
 * costs its own requests only.
 */
const send = (message: FromChild) => {
  if (process.connected) process.send?.(message);
};
let runner: Runner | undefined;
let model: LlamaModel | undefined;
let embedder: Embedder | undefined;
let lastLog = '';

optimizeEarly();
process.on('disconnect', () => process.exit(0));
// A terminal's Ctrl-C reaches the whole group; the parent decides when this process ends.
process.on('SIGINT', () => {});
process.on('message', (message: ToChild) => {
  switch (message.type) {
    case 'load':
      void load(message.options);
      return;
    case 'generate':
      runner?.submit(message.id, message.request);
      return;
    case 'cancel':
      runner?.cancel(message.id);
      return;
    case 'shutdown':
      void shutdown();
      return;
    case 'call':
      void answer(message.id, message.call);
      return;
    default:
      message satisfies never;
  }
});

async function shutdown(): Promise<void> {
  await runner?.close();
  process.exit(0);
}

async function load(options: LoadOptions): Promise<void> {
  try {
    await readModelFile(options.modelPath);
    let lastSentMs = 0;
    model = await loadLlamaModel(options, {
      onProgress(fraction) {
        if (performance.now() - lastSentMs < 200) return;
        lastSentMs = performance.now();
        send({ type: 'load-progress', fraction });
      },
      onLog: (line) => {
        lastLog = line;
      },
    });
    const { info } = model;
    const context = await model.createContext({
      sequences: info.slots,
      contextTokens: info.contextTokens,
      batchTokens: options.batchTokens ?? 512,
    });
    const emit = (outputs: readonly EngineOutput[], report: EngineReport | undefined) =>
      send({ type: 'outputs', outputs, ...report });
    const started = await createRunner(model, context, options, emit, {
      draftModel: await loadDraft(model, options),
      callsInOrder: process.env['UV_THREADPOOL_SIZE'] === '1',
    });
    runner = started;
    embedder = createEmbedder(model, started);
    setInterval(
      () => send({ type: 'heartbeat', busyMs: started.busyMs(), stats: started.stats(), slots: started.slots() }),
      1000,
    );
    send({ type: 'loaded', model: info, stats: started.stats(), slots: started.slots() });
  } catch (error) {
    send({ type: 'load-failed', error: loadError(error) });
  }
}

/** The small model beside it, where one is configured. */
async function loadDraft(target: LlamaModel, options: LoadOptions): Promise<LlamaModel | undefined> {
  if (!options.draft) return undefined;
  const { modelPath } = options.draft;
  try {
    await readModelFile(modelPath);
    const { threads, gpu, gpuLayers, flashAttention } = options;
    return await loadLlamaModel({
      modelPath,
      slots: target.info.slots,
      contextTokens: target.info.contextTokens,
      ...(threads === undefined ? {} : { threads }),
      ...(gpu === undefined ? {} : { gpu }),
      ...(gpuLayers === undefined ? {} : { gpuLayers }),
      ...(flashAttention === undefined ? {} : { flashAttention }),
    });
  } catch (error) {
    throw new Error(`its draft model: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function loadError(error: unknown): EngineError {
  const reason = error instanceof Error ? error.message : String(error);
  const detail = lastLog !== '' && !reason.includes(lastLog) ? ` (${lastLog.slice(0, 300)})` : '';
  return { kind: 'model_unavailable', message: `The model could not be loaded: ${reason}${detail}` };
}

async function answer(id: number, call: EngineCall): Promise<void> {
  try {
    if (!runner || !model || !embedder) throw new Error('The model is not loaded.');
    send({ type: 'result', id, value: await perform(call, model, runner, embedder) });
  } catch (error) {
    const param =
      error instanceof Error && 'param' in error && typeof error.param === 'string' ? error.param : undefined;
    const message = error instanceof Error ? error.message : String(error);
    // What is not the question's fault (no memory for it, for one) is for another target to answer.
    const asked = error instanceof PromptError || error instanceof TemplateError;
    const kind = asked ? 'invalid_request' : 'engine_failed';
    send({ type: 'error', id, error: { kind, message, ...(param ? { param } : {}) } });
  }
}

async function perform(call: EngineCall, loaded: LlamaModel, running: Runner, embeddings: Embedder): Promise<unknown> {
  switch (call.method) {
    case 'tokenize': {
      const tokens = [...loaded.tokenize(call.text, call.parseSpecial)];
      return call.addSpecial && loaded.addsBos && loaded.bosToken !== undefined ? [loaded.bosToken, ...tokens] : tokens;
    }
    case 'detokenize':
      checkTokens(call.tokens, loaded.info.vocabularySize, 'tokens');
      return loaded.detokenize(Uint32Array.from(call.tokens), true);
    case 'render':
      return running.prompts.render(call.prompt);
    case 'count':
      return running.prompts.read(call.prompt).length;
    case 'embed':
      return embeddings.embed(call.inputs);
    case 'rerank':
      return embeddings.rerank(call.query, call.documents);
    default:
      return call satisfies never;
  }
}
