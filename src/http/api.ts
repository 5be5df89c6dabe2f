import packageJson from '../../package.json' with { type: 'json' };
import { memoryObjects } from '../core/objects.ts';
import { once } from '../core/once.ts';
import type { AppDeps, Handler, RouteEntry } from './deps.ts';
import { resumeStream } from './resume.ts';
import {
  chatCompletions,
  deleteStoredChat,
  getStoredChat,
  listStoredChats,
  listStoredMessages,
  updateStoredChat,
} from './routes/chat.ts';
import { docs, openApi } from './routes/docs.ts';
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

const otherRoutes = once(() => import('./other-routes.ts'));

/** A route that is loaded when it is first asked for: most clients speak one dialect, and all others would be read at every start. */
function late(build: (routes: Awaited<ReturnType<typeof otherRoutes>>) => Handler | Promise<Handler>): Handler {
  const handler = once(async () => build(await otherRoutes()));
  return async (c) => (await handler())(c);
}

/** The API surface besides models: every dialect, what is kept, whole calls, the engine's own. */
export function apiRoutes(app: AppDeps): readonly RouteEntry[] {
  const { describeModel, pullModel, objects = memoryObjects(), streams = createStreamLogs() } = app;
  const deps = { ...app, objects, streams };
  const batches = once(async () => app.batches ?? (await otherRoutes()).createBatchRunner(deps));
  return [
    ['POST', '/v1/chat/completions', chatCompletions(deps, objects)],
    ['GET', '/v1/chat/completions', listStoredChats(deps, objects)],
    ['GET', '/v1/chat/completions/:id', getStoredChat(deps, objects)],
    ['POST', '/v1/chat/completions/:id', updateStoredChat(deps, objects)],
    ['DELETE', '/v1/chat/completions/:id', deleteStoredChat(deps, objects)],
    ['GET', '/v1/chat/completions/:id/messages', listStoredMessages(deps, objects)],
    ['POST', '/v1/files', late((r) => r.uploadFile(deps, objects))],
    ['GET', '/v1/files', late((r) => r.listFiles(deps, objects))],
    ['GET', '/v1/files/:id', late((r) => r.getFile(deps, objects))],
    ['GET', '/v1/files/:id/content', late((r) => r.getFileContent(deps, objects))],
    ['DELETE', '/v1/files/:id', late((r) => r.deleteFile(deps, objects))],
    ['POST', '/v1/batches', late(async (r) => r.createBatch(deps, objects, await batches()))],
    ['GET', '/v1/batches', late((r) => r.listBatches(deps, objects))],
    ['GET', '/v1/batches/:id', late((r) => r.getBatch(deps, objects))],
    ['POST', '/v1/batches/:id/cancel', late(async (r) => r.cancelBatch(deps, objects, await batches()))],
    ['POST', '/v1/responses', late((r) => r.createResponse(deps))],
    ['POST', '/v1/responses/input_tokens', late((r) => r.countInputTokens(deps))],
    ['POST', '/v1/responses/compact', late((r) => r.compactResponse(deps))],
    ['GET', '/v1/responses/:id', late((r) => r.getResponse(deps))],
    ['DELETE', '/v1/responses/:id', late((r) => r.deleteResponse(deps))],
    ['POST', '/v1/responses/:id/cancel', late((r) => r.cancelResponse(deps))],
    ['GET', '/v1/responses/:id/input_items', late((r) => r.listInputItems(deps))],
    ['POST', '/v1/conversations', late((r) => r.createConversation(deps, objects))],
    ['GET', '/v1/conversations/:id', late((r) => r.getConversation(deps, objects))],
    ['POST', '/v1/conversations/:id', late((r) => r.updateConversation(deps, objects))],
    ['DELETE', '/v1/conversations/:id', late((r) => r.deleteConversation(deps, objects))],
    ['GET', '/v1/conversations/:id/items', late((r) => r.listConversationItems(deps, objects))],
    ['POST', '/v1/conversations/:id/items', late((r) => r.addConversationItems(deps, objects))],
    ['GET', '/v1/conversations/:id/items/:item', late((r) => r.getConversationItem(deps, objects))],
    ['DELETE', '/v1/conversations/:id/items/:item', late((r) => r.deleteConversationItem(deps, objects))],
    ['GET', '/v1/streams/:id', resumeStream(deps, streams)],
    ['POST', '/v1/completions', late((r) => r.completions(deps))],
    ['POST', '/v1/embeddings', late((r) => r.embeddings(deps))],
    ['POST', '/v1/moderations', late((r) => r.moderations(deps))],
    ['POST', '/v1/rerank', late((r) => r.rerank(deps))],
    ['POST', '/v1/messages', late((r) => r.messages(deps))],
    ['POST', '/v1/messages/count_tokens', late((r) => r.countMessageTokens(deps))],
    ['POST', '/api/chat', late((r) => r.ollamaGeneration(deps, 'chat', app.modelControl))],
    ['POST', '/api/generate', late((r) => r.ollamaGeneration(deps, 'generate', app.modelControl))],
    ['GET', '/api/tags', late((r) => r.ollamaTags(deps, describeModel))],
    ['GET', '/api/ps', late((r) => r.ollamaRunning(deps, describeModel))],
    ['POST', '/api/show', late((r) => r.ollamaShow(deps, describeModel))],
    ['POST', '/api/embed', late((r) => r.ollamaEmbed(deps, false))],
    ['POST', '/api/embeddings', late((r) => r.ollamaEmbed(deps, true))],
    ['POST', '/api/pull', late((r) => r.ollamaPull(deps, pullModel))],
    ['GET', '/api/version', late((r) => r.ollamaVersion(deps))],
    ...ollamaOnly.map(([method, path, what]): RouteEntry => [method, path, late((r) => r.ollamaRefusal(deps, what))]),
    ['POST', '/v1/models/load', late((r) => r.controlModel(deps, app.modelControl, 'load'))],
    ['POST', '/v1/models/unload', late((r) => r.controlModel(deps, app.modelControl, 'unload'))],
    ...forwarded.map((path): RouteEntry => ['POST', `/v1${path}`, late((r) => r.forward(deps, path))]),
    ['POST', '/infill', late((r) => r.infill(deps))],
    ['POST', '/completion', late((r) => r.llamaCompletions(deps))],
    ['POST', '/tokenize', late((r) => r.tokenize(deps))],
    ['POST', '/detokenize', late((r) => r.detokenize(deps))],
    ['GET', '/tokenizer_info', late((r) => r.tokenizerInfo(deps))],
    ['GET', '/props', late((r) => r.props(deps))],
    ['POST', '/apply-template', late((r) => r.applyTemplate(deps))],
    ['GET', '/openapi.json', openApi(deps, packageJson.version)],
    ['GET', '/docs', docs(deps)],
    ['GET', '/docs/:file', docs(deps, app.docsAsset)],
  ];
}
