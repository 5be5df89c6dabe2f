/** All routes but those of chat completions: loaded with the first request to one of them (api.ts). */
export { createBatchRunner } from './batch-runner.ts';
export { countMessageTokens, messages } from './routes/anthropic.ts';
export { cancelBatch, createBatch, getBatch, listBatches } from './routes/batches.ts';
export { compactResponse } from './routes/compact.ts';
export { completions } from './routes/completions.ts';
export * from './routes/conversations.ts';
export { deleteFile, getFile, getFileContent, listFiles, uploadFile } from './routes/files.ts';
export { forward } from './routes/forward.ts';
export { infill, llamaCompletions, props, tokenizerInfo } from './routes/llama.ts';
export { controlModel } from './routes/model-control.ts';
export {
  ollamaEmbed,
  ollamaGeneration,
  ollamaPull,
  ollamaRefusal,
  ollamaRunning,
  ollamaShow,
  ollamaTags,
  ollamaVersion,
} from './routes/ollama.ts';
export {
  cancelResponse,
  countInputTokens,
  createResponse,
  deleteResponse,
  getResponse,
  listInputItems,
} from './routes/responses.ts';
export { applyTemplate, detokenize, embeddings, moderations, rerank, tokenize } from './routes/whole-calls.ts';
