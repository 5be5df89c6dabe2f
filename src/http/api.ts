import packageJson from '../../package.json' with { type: 'json' };
import { memoryObjects } from '../core/objects.ts';
import { anthropicMessages } from '../wire/anthropic/format.ts';
import { ollamaChat, ollamaGenerate } from '../wire/ollama/format.ts';
import { createBatchRunner } from './batch-runner.ts';
import type { AppDeps, RouteEntry } from './deps.ts';
import { generation } from './generation.ts';
import { resumeStream } from './resume.ts';
import { countMessageTokens } from './routes/anthropic.ts';
import { cancelBatch, createBatch, getBatch, listBatches } from './routes/batches.ts';
import {
  chatCompletions,
  deleteStoredChat,
  getStoredChat,
  listStoredChats,
  listStoredMessages,
  updateStoredChat,
} from './routes/chat.ts';
import { compactResponse } from './routes/compact.ts';
import { completions } from './routes/completions.ts';
import {
  addConversationItems,
  createConversation,
  deleteConversation,
  deleteConversationItem,
  getConversation,
  getConversationItem,
  listConversationItems,
  updateConversation,
} from './routes/conversations.ts';
import { docs, openApi } from './routes/docs.ts';
import { deleteFile, getFile, getFileContent, listFiles, uploadFile } from './routes/files.ts';
import { forward } from './routes/forward.ts';
import { infill } from './routes/infill.ts';
import { controlModel } from './routes/model-control.ts';
import {
  ollamaEmbed,
  ollamaGeneration,
  ollamaPull,
  ollamaRefusal,
  ollamaRunning,
  ollamaShow,
  ollamaTags,
  ollamaVersion,
} from './routes/ollama.ts';
import {
  cancelResponse,
  countInputTokens,
  createResponse,
  deleteResponse,
  getResponse,
  listInputItems,
} from './routes/responses.ts';
import { applyTemplate, detokenize, embeddings, moderations, rerank, tokenize } from './routes/whole-calls.ts';
import { createStreamLogs } from './stream-log.ts';

/** Endpoints that are passed on as they are. */
const forwarded = [
  '/audio/speech',
  '/audio/transcriptions',
  '/audio/translations',
  '/images/generations',
  '/images/edits',
  '/images/variations',
] as const;

/** What only Ollama itself does, and where to go instead. */
const ollamaOnly = [
  ['DELETE', '/api/delete', 'Models are not deleted over HTTP; use `tidegate models rm NAME` on the machine.'],
  ['POST', '/api/copy', 'Models are not copied; give one a second name under `models` in tidegate.yaml.'],
  ['POST', '/api/create', 'Models are not created here; describe one under `models` and `prompts` in tidegate.yaml.'],
  ['POST', '/api/push', 'Models are not pushed to a registry from here.'],
] as const;

/** The API surface besides models: every dialect, what is kept, whole calls, the engine's own. */
export function apiRoutes(app: AppDeps): readonly RouteEntry[] {
  const { describeModel, pullModel, objects = memoryObjects(), streams = createStreamLogs() } = app;
  const deps = { ...app, objects, streams };
  const batches = app.batches ?? createBatchRunner(deps);
  return [
    ['POST', '/v1/chat/completions', chatCompletions(deps, objects)],
    ['GET', '/v1/chat/completions', listStoredChats(deps, objects)],
    ['GET', '/v1/chat/completions/:id', getStoredChat(deps, objects)],
    ['POST', '/v1/chat/completions/:id', updateStoredChat(deps, objects)],
    ['DELETE', '/v1/chat/completions/:id', deleteStoredChat(deps, objects)],
    ['GET', '/v1/chat/completions/:id/messages', listStoredMessages(deps, objects)],
    ['POST', '/v1/files', uploadFile(deps, objects)],
    ['GET', '/v1/files', listFiles(deps, objects)],
    ['GET', '/v1/files/:id', getFile(deps, objects)],
    ['GET', '/v1/files/:id/content', getFileContent(deps, objects)],
    ['DELETE', '/v1/files/:id', deleteFile(deps, objects)],
    ['POST', '/v1/batches', createBatch(deps, objects, batches)],
    ['GET', '/v1/batches', listBatches(deps, objects)],
    ['GET', '/v1/batches/:id', getBatch(deps, objects)],
    ['POST', '/v1/batches/:id/cancel', cancelBatch(deps, objects, batches)],
    ['POST', '/v1/responses', createResponse(deps)],
    ['POST', '/v1/responses/input_tokens', countInputTokens(deps)],
    ['POST', '/v1/responses/compact', compactResponse(deps)],
    ['GET', '/v1/responses/:id', getResponse(deps)],
    ['DELETE', '/v1/responses/:id', deleteResponse(deps)],
    ['POST', '/v1/responses/:id/cancel', cancelResponse(deps)],
    ['GET', '/v1/responses/:id/input_items', listInputItems(deps)],
    ['POST', '/v1/conversations', createConversation(deps, objects)],
    ['GET', '/v1/conversations/:id', getConversation(deps, objects)],
    ['POST', '/v1/conversations/:id', updateConversation(deps, objects)],
    ['DELETE', '/v1/conversations/:id', deleteConversation(deps, objects)],
    ['GET', '/v1/conversations/:id/items', listConversationItems(deps, objects)],
    ['POST', '/v1/conversations/:id/items', addConversationItems(deps, objects)],
    ['GET', '/v1/conversations/:id/items/:item', getConversationItem(deps, objects)],
    ['DELETE', '/v1/conversations/:id/items/:item', deleteConversationItem(deps, objects)],
    ['GET', '/v1/streams/:id', resumeStream(deps, streams)],
    ['POST', '/v1/completions', completions(deps)],
    ['POST', '/v1/embeddings', embeddings(deps)],
    ['POST', '/v1/moderations', moderations(deps)],
    ['POST', '/v1/rerank', rerank(deps)],
    ['POST', '/v1/messages', generation(deps, anthropicMessages)],
    ['POST', '/v1/messages/count_tokens', countMessageTokens(deps)],
    ['POST', '/api/chat', ollamaGeneration(deps, ollamaChat, app.modelControl)],
    ['POST', '/api/generate', ollamaGeneration(deps, ollamaGenerate, app.modelControl)],
    ['GET', '/api/tags', ollamaTags(deps, describeModel)],
    ['GET', '/api/ps', ollamaRunning(deps, describeModel)],
    ['POST', '/api/show', ollamaShow(deps, describeModel)],
    ['POST', '/api/embed', ollamaEmbed(deps, false)],
    ['POST', '/api/embeddings', ollamaEmbed(deps, true)],
    ['POST', '/api/pull', ollamaPull(deps, pullModel)],
    ['GET', '/api/version', ollamaVersion(deps)],
    ...ollamaOnly.map(([method, path, what]): RouteEntry => [method, path, ollamaRefusal(deps, what)]),
    ['POST', '/v1/models/load', controlModel(deps, app.modelControl, 'load')],
    ['POST', '/v1/models/unload', controlModel(deps, app.modelControl, 'unload')],
    ...forwarded.map((path): RouteEntry => ['POST', `/v1${path}`, forward(deps, path)]),
    ['POST', '/infill', infill(deps)],
    ['POST', '/tokenize', tokenize(deps)],
    ['POST', '/detokenize', detokenize(deps)],
    ['POST', '/apply-template', applyTemplate(deps)],
    ['GET', '/openapi.json', openApi(deps, packageJson.version)],
    ['GET', '/docs', docs(deps)],
    ['GET', '/docs/:file', docs(deps, app.docsAsset)],
  ];
}
