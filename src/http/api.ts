import { anthropicMessages } from '../wire/anthropic/format.ts';
import { ollamaChat, ollamaGenerate } from '../wire/ollama/format.ts';
import type { AppDeps, RouteEntry } from './deps.ts';
import { generation } from './generation.ts';
import { countMessageTokens } from './routes/anthropic.ts';
import { completions } from './routes/completions.ts';
import {
  ollamaEmbed,
  ollamaGeneration,
  ollamaPull,
  ollamaRunning,
  ollamaShow,
  ollamaTags,
  ollamaVersion,
} from './routes/ollama.ts';
import { applyTemplate, detokenize, embeddings, moderations, rerank, tokenize } from './routes/whole-calls.ts';

/** The API surface besides chat and models: other dialects, whole calls, the engine's own. */
export function apiRoutes(deps: AppDeps): readonly RouteEntry[] {
  const { describeModel, pullModel } = deps;
  return [
    ['POST', '/v1/completions', completions(deps)],
    ['POST', '/v1/embeddings', embeddings(deps)],
    ['POST', '/v1/moderations', moderations(deps)],
    ['POST', '/v1/rerank', rerank(deps)],
    ['POST', '/v1/messages', generation(deps, anthropicMessages)],
    ['POST', '/v1/messages/count_tokens', countMessageTokens(deps)],
    ['POST', '/api/chat', ollamaGeneration(deps, ollamaChat)],
    ['POST', '/api/generate', ollamaGeneration(deps, ollamaGenerate)],
    ['GET', '/api/tags', ollamaTags(deps, describeModel)],
    ['GET', '/api/ps', ollamaRunning(deps, describeModel)],
    ['POST', '/api/show', ollamaShow(deps, describeModel)],
    ['POST', '/api/embed', ollamaEmbed(deps, false)],
    ['POST', '/api/embeddings', ollamaEmbed(deps, true)],
    ['POST', '/api/pull', ollamaPull(deps, pullModel)],
    ['GET', '/api/version', ollamaVersion(deps)],
    ['POST', '/tokenize', tokenize(deps)],
    ['POST', '/detokenize', detokenize(deps)],
    ['POST', '/apply-template', applyTemplate(deps)],
  ];
}
