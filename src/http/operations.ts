import * as z from 'zod';
import type { JsonObject } from '../core/json.ts';
import { countTokensSchema, messagesRequestSchema } from '../wire/anthropic/schema.ts';
import { llamaCompletionSchema } from '../wire/llama/completion.ts';
import { infillSchema } from '../wire/llama/infill.ts';
import {
  ollamaChatSchema,
  ollamaEmbedSchema,
  ollamaGenerateSchema,
  ollamaModelSchema,
  ollamaPullSchema,
} from '../wire/ollama/schema.ts';
import * as answers from '../wire/openai/answers.ts';
import { batchRequestSchema } from '../wire/openai/batches.ts';
import { completionRequestSchema } from '../wire/openai/completions.ts';
import { embeddingRequestSchema } from '../wire/openai/embeddings.ts';
import { filePurposes } from '../wire/openai/files.ts';
import { moderationRequestSchema } from '../wire/openai/moderations.ts';
import { rerankRequestSchema } from '../wire/openai/rerank.ts';
import { changedMetadataSchema, chatRequestSchema } from '../wire/openai/schema.ts';
import { detokenizeSchema, tokenizeSchema } from '../wire/openai/tokens.ts';
import { responseRequestSchema } from '../wire/responses/schema.ts';
import { createConversationSchema } from './routes/conversations.ts';
import { modelNameSchema } from './routes/model-control.ts';

/** One entry of the reference: what a route reads and what it answers. */
export interface Operation {
  readonly summary: string;
  readonly tag: string;
  readonly body?: () => z.ZodType;
  /** A body that works with the default model. */
  readonly example?: JsonObject;
  /** It may be sent without its body. */
  readonly bodyless?: true;
  /** The form of a body that is no JSON. */
  readonly form?: JsonObject;
  /** Of a 200; absent: any JSON object. */
  readonly answer?: () => z.ZodType;
  /** What it sends instead of or beside JSON. */
  readonly stream?: 'text/event-stream' | 'application/x-ndjson' | 'application/octet-stream' | 'text/html' | '*/*';
  /** Parameters of the address with their schemas. */
  readonly query?: Readonly<Record<string, JsonObject>>;
  /** Operations on what this one made, whose `id` is in its answer. */
  readonly links?: readonly string[];
  readonly open?: boolean;
}

const text = { type: 'string' };
const pageOf = (maximum: number) => ({
  after: text,
  limit: { type: 'integer', minimum: 1, maximum },
  order: { enum: ['asc', 'desc'] },
});
const page = pageOf(100);
const model = 'smollm2';
const messages = [{ role: 'user', content: 'Say hello.' }];
const loose = () => z.looseObject({});

/** Passed on to an upstream that can, whose answer is told by its own type. */
const passedOn = { tag: 'Audio and images', body: modelNameSchema, stream: '*/*' } as const;
const formWith = (file: string) => ({
  type: 'object',
  required: ['model', file],
  properties: { model: text, [file]: { type: 'string', format: 'binary' } },
});

/** Every route by method and path; the test holds this table and the routes to each other. */
export const operations: Readonly<Record<string, Operation>> = {
  'POST /v1/chat/completions': {
    summary: 'Answer a chat',
    tag: 'Chat',
    example: { model, messages, max_tokens: 64 },
    body: chatRequestSchema,
    answer: answers.chatCompletionAnswer,
    stream: 'text/event-stream',
    links: ['GET /v1/chat/completions/{id}', 'DELETE /v1/chat/completions/{id}'],
  },
  'GET /v1/chat/completions': {
    summary: 'List stored chats',
    tag: 'Chat',
    answer: () => answers.listOf(loose()),
    query: { ...page, model: text },
  },
  'GET /v1/chat/completions/{id}': { summary: 'Get a stored chat', tag: 'Chat', answer: answers.chatCompletionAnswer },
  'POST /v1/chat/completions/{id}': {
    summary: 'Change a stored chat’s metadata',
    tag: 'Chat',
    body: changedMetadataSchema,
    answer: answers.chatCompletionAnswer,
  },
  'DELETE /v1/chat/completions/{id}': { summary: 'Delete a stored chat', tag: 'Chat', answer: answers.deletedAnswer },
  'GET /v1/chat/completions/{id}/messages': {
    summary: 'List a stored chat’s messages',
    tag: 'Chat',
    answer: () => answers.listOf(loose()),
    query: page,
  },
  'POST /v1/completions': {
    summary: 'Complete a text',
    tag: 'Completions',
    example: { model, prompt: 'Once upon a time', max_tokens: 32 },
    body: completionRequestSchema,
    answer: answers.completionAnswer,
    stream: 'text/event-stream',
  },
  'POST /v1/responses': {
    summary: 'Make a response',
    tag: 'Responses',
    example: { model, input: 'Say hello.' },
    body: responseRequestSchema,
    answer: answers.responseAnswerSchema,
    stream: 'text/event-stream',
    links: ['GET /v1/responses/{id}', 'GET /v1/responses/{id}/input_items', 'DELETE /v1/responses/{id}'],
  },
  'POST /v1/responses/input_tokens': {
    summary: 'Count a response’s input tokens',
    tag: 'Responses',
    body: responseRequestSchema,
    answer: () => z.object({ object: z.literal('response.input_tokens'), input_tokens: z.int() }),
  },
  'POST /v1/responses/compact': {
    summary: 'Sum up a long conversation as the input of its next turn',
    tag: 'Responses',
    example: { model, input: 'Say hello.' },
    body: responseRequestSchema,
    answer: answers.compactionAnswer,
  },
  'GET /v1/responses/{id}': {
    summary: 'Get a response, or replay its events',
    tag: 'Responses',
    answer: answers.responseAnswerSchema,
    stream: 'text/event-stream',
    query: { stream: { type: 'boolean' }, starting_after: { type: 'integer' } },
  },
  'DELETE /v1/responses/{id}': { summary: 'Delete a response', tag: 'Responses', answer: answers.deletedAnswer },
  'POST /v1/responses/{id}/cancel': {
    summary: 'Cancel a background response',
    tag: 'Responses',
    answer: answers.responseAnswerSchema,
  },
  'GET /v1/responses/{id}/input_items': {
    summary: 'List a response’s input',
    tag: 'Responses',
    answer: () => answers.listOf(loose()),
    query: page,
  },
  'POST /v1/conversations': {
    summary: 'Begin a conversation',
    tag: 'Conversations',
    body: createConversationSchema,
    bodyless: true,
    answer: answers.conversationAnswer,
    links: [
      'GET /v1/conversations/{id}',
      'POST /v1/conversations/{id}/items',
      'GET /v1/conversations/{id}/items',
      'DELETE /v1/conversations/{id}',
    ],
  },
  'GET /v1/conversations/{id}': {
    summary: 'Get a conversation',
    tag: 'Conversations',
    answer: answers.conversationAnswer,
  },
  'POST /v1/conversations/{id}': {
    summary: 'Change a conversation’s metadata',
    tag: 'Conversations',
    body: changedMetadataSchema,
    answer: answers.conversationAnswer,
  },
  'DELETE /v1/conversations/{id}': {
    summary: 'Delete a conversation',
    tag: 'Conversations',
    answer: answers.deletedAnswer,
  },
  'GET /v1/conversations/{id}/items': {
    summary: 'List a conversation’s items',
    tag: 'Conversations',
    answer: () => answers.listOf(loose()),
    query: page,
  },
  'POST /v1/conversations/{id}/items': {
    summary: 'Add items to a conversation',
    tag: 'Conversations',
    body: () => z.looseObject({ items: z.array(loose()).min(1).max(20) }),
    answer: () => answers.listOf(loose()),
  },
  'GET /v1/conversations/{id}/items/{item}': { summary: 'Get an item', tag: 'Conversations' },
  'DELETE /v1/conversations/{id}/items/{item}': {
    summary: 'Delete an item',
    tag: 'Conversations',
    answer: answers.conversationAnswer,
  },
  'POST /v1/embeddings': {
    summary: 'Embed texts',
    tag: 'Embeddings',
    example: { model, input: ['Hello.', 'Good day.'] },
    body: embeddingRequestSchema,
    answer: answers.embeddingsAnswer,
  },
  'POST /v1/rerank': {
    summary: 'Rank documents by a query',
    tag: 'Embeddings',
    example: { model, query: 'Where is Paris?', documents: ['Paris is in France.', 'Tea is hot.'] },
    body: rerankRequestSchema,
    answer: answers.rerankAnswer,
  },
  'POST /v1/moderations': {
    summary: 'Judge texts',
    tag: 'Moderations',
    body: moderationRequestSchema,
    answer: answers.moderationsAnswer,
  },
  'POST /v1/files': {
    summary: 'Upload a file',
    tag: 'Files',
    form: {
      type: 'object',
      required: ['file', 'purpose'],
      properties: { file: { type: 'string', format: 'binary' }, purpose: { type: 'string', enum: [...filePurposes] } },
    },
    answer: answers.fileAnswer,
    links: ['GET /v1/files/{id}', 'GET /v1/files/{id}/content', 'DELETE /v1/files/{id}'],
  },
  'GET /v1/files': {
    summary: 'List files',
    tag: 'Files',
    answer: () => answers.listOf(answers.fileAnswer()),
    query: { ...pageOf(10_000), purpose: text },
  },
  'GET /v1/files/{id}': { summary: 'Get a file’s facts', tag: 'Files', answer: answers.fileAnswer },
  'GET /v1/files/{id}/content': { summary: 'Get a file’s content', tag: 'Files', stream: 'application/octet-stream' },
  'DELETE /v1/files/{id}': { summary: 'Delete a file', tag: 'Files', answer: answers.deletedAnswer },
  'POST /v1/batches': {
    summary: 'Begin a batch',
    tag: 'Batches',
    body: batchRequestSchema,
    answer: answers.batchAnswer,
    links: ['GET /v1/batches/{id}', 'POST /v1/batches/{id}/cancel'],
  },
  'GET /v1/batches': {
    summary: 'List batches',
    tag: 'Batches',
    answer: () => answers.listOf(answers.batchAnswer()),
    query: page,
  },
  'GET /v1/batches/{id}': { summary: 'Get a batch', tag: 'Batches', answer: answers.batchAnswer },
  'POST /v1/batches/{id}/cancel': { summary: 'Cancel a batch', tag: 'Batches', answer: answers.batchAnswer },
  'GET /v1/models': { summary: 'List models', tag: 'Models', answer: () => answers.listOf(answers.modelAnswer()) },
  'GET /v1/models/{id}': { summary: 'Get a model', tag: 'Models', answer: answers.modelAnswer },
  'GET /v1/streams/{id}': { summary: 'Go on reading a resumable stream', tag: 'Streams', stream: 'text/event-stream' },
  'POST /v1/messages': {
    summary: 'Answer an Anthropic message',
    tag: 'Anthropic',
    example: { model, max_tokens: 64, messages },
    body: messagesRequestSchema,
    stream: 'text/event-stream',
  },
  'POST /v1/messages/count_tokens': {
    summary: 'Count a message’s tokens',
    tag: 'Anthropic',
    example: { model, messages },
    body: countTokensSchema,
    answer: () => z.object({ input_tokens: z.int() }),
  },
  'POST /api/chat': {
    summary: 'Answer a chat',
    tag: 'Ollama',
    example: { model, messages, stream: false },
    body: ollamaChatSchema,
    stream: 'application/x-ndjson',
  },
  'POST /api/generate': {
    summary: 'Generate a text',
    tag: 'Ollama',
    example: { model, prompt: 'Say hello.', stream: false },
    body: ollamaGenerateSchema,
    stream: 'application/x-ndjson',
  },
  'GET /api/tags': { summary: 'List models', tag: 'Ollama' },
  'GET /api/ps': { summary: 'List loaded models', tag: 'Ollama' },
  'POST /api/show': { summary: 'Show a model', tag: 'Ollama', body: ollamaModelSchema },
  'POST /api/embed': { summary: 'Embed texts', tag: 'Ollama', body: ollamaEmbedSchema },
  'POST /api/embeddings': { summary: 'Embed one text (old form)', tag: 'Ollama', body: ollamaEmbedSchema },
  'POST /api/pull': {
    summary: 'Fetch a model',
    tag: 'Ollama',
    body: ollamaPullSchema,
    stream: 'application/x-ndjson',
  },
  'DELETE /api/delete': { summary: 'Refused: models are not deleted over HTTP', tag: 'Ollama' },
  'POST /api/copy': { summary: 'Refused: names are given in the configuration', tag: 'Ollama' },
  'POST /api/create': { summary: 'Refused: models are described in the configuration', tag: 'Ollama' },
  'POST /api/push': { summary: 'Refused: nothing is pushed to a registry', tag: 'Ollama' },
  'GET /api/version': { summary: 'Version', tag: 'Ollama', open: true },
  'POST /v1/models/load': { summary: 'Bring a local model into memory', tag: 'Models', body: modelNameSchema },
  'POST /v1/models/unload': { summary: 'Take a local model out of memory', tag: 'Models', body: modelNameSchema },
  'POST /v1/audio/speech': { ...passedOn, summary: 'Speak a text' },
  'POST /v1/audio/transcriptions': { ...passedOn, form: formWith('file'), summary: 'Write down speech' },
  'POST /v1/audio/translations': { ...passedOn, form: formWith('file'), summary: 'Write down speech in English' },
  'POST /v1/images/generations': { ...passedOn, summary: 'Make images' },
  'POST /v1/images/edits': { ...passedOn, form: formWith('image'), summary: 'Edit images' },
  'POST /v1/images/variations': { ...passedOn, form: formWith('image'), summary: 'Vary an image' },
  'POST /infill': {
    summary: 'Fill a gap in code, with pieces of the repository around it, as llama-server does',
    tag: 'Engine',
    example: {
      input_prefix: 'def add(a, b):\n',
      input_suffix: '\nprint(add(1, 2))',
      input_extra: [{ filename: 'sub.py', text: 'def sub(a, b):\n  return a - b\n' }],
      n_predict: 32,
    },
    body: infillSchema,
    stream: 'text/event-stream',
  },
  'POST /completion': {
    summary: 'Go on from a text, as llama-server does',
    tag: 'Engine',
    example: { prompt: 'Once upon a time', n_predict: 32 },
    body: llamaCompletionSchema,
    stream: 'text/event-stream',
  },
  'POST /tokenize': {
    summary: 'Turn text into token ids',
    tag: 'Engine',
    example: { content: 'Hello, world.' },
    body: tokenizeSchema,
    answer: () => z.object({ tokens: z.array(z.int()), count: z.int() }),
  },
  'POST /detokenize': {
    summary: 'Turn token ids into text',
    tag: 'Engine',
    body: detokenizeSchema,
    answer: () => z.object({ content: z.string(), prompt: z.string() }),
  },
  'GET /tokenizer_info': {
    summary: 'A model’s tokenizer, as vLLM tells it',
    tag: 'Engine',
    query: { model: text },
    answer: () =>
      z.object({
        model_max_length: z.int(),
        chat_template: z.string().nullable(),
        bos_token: z.string().nullable(),
        eos_token: z.string().nullable(),
      }),
  },
  'GET /props': {
    summary: 'What a model is served with, as llama-server tells it',
    tag: 'Engine',
    query: { model: text },
  },
  'POST /apply-template': {
    summary: 'The prompt text of a chat',
    tag: 'Engine',
    example: { model, messages },
    body: chatRequestSchema,
    answer: () => z.object({ prompt: z.string() }),
  },
  'GET /health': { summary: 'Ready to serve', tag: 'Health', open: true },
  'GET /health/live': { summary: 'Alive', tag: 'Health', open: true },
  'GET /health/ready': { summary: 'Ready to serve', tag: 'Health', open: true },
  'GET /openapi.json': { summary: 'This document', tag: 'Reference', open: true },
  'GET /docs': { summary: 'This document, to browse', tag: 'Reference', stream: 'text/html', open: true },
  'GET /docs/{file}': {
    summary: 'A file of the reference page',
    tag: 'Reference',
    stream: 'application/octet-stream',
    open: true,
  },
};
