import * as z from 'zod';
import * as answers from '../wire/openai/answers.ts';
import { type Operation, operations } from './operations.ts';

/** OpenAPI 3.1, made of the schemas that do the parsing, so that it can't drift from them. */
export function openApiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [key, operation] of Object.entries(operations)) {
    const [method = '', path = ''] = key.split(' ');
    paths[path] = { ...paths[path], [method.toLowerCase()]: encodeOperation(key, path, operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Tidegate',
      version,
      description:
        'One address for every model: OpenAI, Anthropic and Ollama dialects over local models and upstreams. Paths below /v1 also answer without it.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
    },
    security: [{}, { bearer: [] }, { apiKey: [] }],
  };
}

/** Of each event of a stream, not of its text as a whole, as readers of a schema take it. */
const sseEvent = {
  type: 'object',
  required: ['data'],
  properties: { event: { type: 'string' }, data: { type: 'string' }, id: { type: 'string' } },
};

const operationId = (key: string): string => key.replace(/[^A-Za-z0-9]+/g, '_');
const encodeLink = (key: string): [string, object] => [
  operationId(key),
  { operationId: operationId(key), parameters: { id: '$response.body#/id' } },
];

const jsonSchema = (schema: z.ZodType, io: 'input' | 'output'): object => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' });
  return rest;
};

const jsonOf = (schema: object) => ({ content: { 'application/json': { schema } } });

const stringFields = (...names: readonly string[]) => ({
  type: 'object',
  required: names,
  properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
});

/** In the envelope of the path's dialect; what is passed on and the health of parts have none. */
function faultOf(path: string, { stream, open }: Operation): object {
  if (stream === '*/*') return { content: { '*/*': {} } };
  if (open) return jsonOf({ type: 'object' });
  if (path.startsWith('/api/')) return jsonOf(stringFields('error'));
  if (!path.startsWith('/v1/messages')) return jsonOf(jsonSchema(answers.errorAnswer(), 'output'));
  const { required, properties } = stringFields('type', 'request_id');
  const error = stringFields('type', 'message');
  return jsonOf({ type: 'object', required: ['error', ...required], properties: { ...properties, error } });
}

function encodeOperation(key: string, path: string, operation: Operation): object {
  const { summary, tag, body, bodyless, example, form, answer, stream, query = {}, links = [], open } = operation;
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '');
  const parameters = [
    ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    ...Object.entries(query).map(([name, schema]) => ({ name, in: 'query', required: false, schema })),
  ];
  const json = answer ? jsonSchema(answer(), 'output') : { type: 'object' };
  const isEvents = stream === 'text/event-stream';
  const onlyStream = stream && !answer && !isEvents && stream !== 'application/x-ndjson';
  const fault = faultOf(path, operation);
  const sent = {
    ...(body ? { 'application/json': { schema: jsonSchema(body(), 'input'), ...(example ? { example } : {}) } } : {}),
    ...(form ? { 'multipart/form-data': { schema: form } } : {}),
  };
  return {
    operationId: operationId(key),
    summary,
    tags: [tag],
    ...(open ? { security: [{}] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body || form ? { requestBody: { required: !bodyless, content: sent } } : {}),
    responses: {
      200: {
        description: 'The answer',
        content: {
          ...(onlyStream ? {} : { 'application/json': { schema: json } }),
          ...(stream ? { [stream]: { schema: isEvents ? sseEvent : stream === '*/*' ? {} : { type: 'string' } } } : {}),
        },
        ...(links.length > 0 ? { links: Object.fromEntries(links.map(encodeLink)) } : {}),
      },
      ...(isEvents ? { 204: { description: 'A resumed stream has nothing more to tell' } } : {}),
      '4XX': { description: 'What to change, in the envelope of the dialect', ...fault },
      '5XX': { description: 'What went wrong', ...fault },
    },
  };
}
