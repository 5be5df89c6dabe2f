import * as z from 'zod';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import { once } from '../../core/once.ts';
import { metadataSchema } from './schema.ts';

/** Endpoints whose requests a batch may hold. */
const batchEndpoints = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses'] as const;
export type BatchEndpoint = (typeof batchEndpoints)[number];

export const batchRequestSchema = once(() =>
  z.looseObject({
    input_file_id: z.string().min(1),
    endpoint: z.enum(batchEndpoints),
    completion_window: z.literal('24h'),
    metadata: metadataSchema().nullish(),
    output_expires_after: z.looseObject({ anchor: z.literal('created_at'), seconds: z.number().int() }).nullish(),
  }),
);

export interface BatchLine {
  /** Position in the input, from 1. */
  readonly line: number;
  readonly customId: string;
  readonly body: JsonObject;
}

export interface BatchLineError {
  readonly code: string;
  readonly line: number | null;
  readonly message: string;
  readonly param: string | null;
}

/** OpenAI's bounds: lines of a batch, and faults that are told. */
const maxLines = 50_000;
const maxErrors = 100;

/** The lines of an input file, or what is wrong with them, line by line. */
export function decodeBatchLines(
  bytes: Uint8Array,
  endpoint: BatchEndpoint,
): { readonly lines: readonly BatchLine[]; readonly errors: readonly BatchLineError[] } {
  const lines: BatchLine[] = [];
  const errors: BatchLineError[] = [];
  const seen = new Set<string>();
  const fault = (code: string, line: number | null, message: string, param: string | null = null) => {
    if (errors.length < maxErrors) errors.push({ code, line, message, param });
  };
  const texts = new TextDecoder().decode(bytes).split('\n');
  for (const [index, text] of texts.entries()) {
    if (text.trim() === '') continue;
    const line = index + 1;
    const value = parse(text);
    if (!isJsonObject(value)) {
      fault('invalid_json_line', line, 'This line is not parseable as a JSON object.');
      continue;
    }
    const { custom_id, method, url, body } = value;
    if (typeof custom_id !== 'string' || custom_id === '') {
      fault('missing_required_parameter', line, "Missing required parameter: 'custom_id'.", 'custom_id');
    } else if (seen.has(custom_id)) {
      fault(
        'duplicate_custom_id',
        line,
        `The custom_id '${custom_id.slice(0, 64)}' is used more than once.`,
        'custom_id',
      );
    } else if (method !== 'POST') {
      fault('invalid_method', line, "The method must be 'POST'.", 'method');
    } else if (url !== endpoint) {
      fault('mismatched_endpoint', line, `The url must be the batch's endpoint '${endpoint}'.`, 'url');
    } else if (!isJsonObject(body)) {
      fault('missing_required_parameter', line, "Missing required parameter: 'body'.", 'body');
    } else if (body['stream'] === true) {
      fault('invalid_value', line, 'A request of a batch cannot be streamed.', 'body.stream');
    } else lines.push({ line, customId: custom_id, body });
    if (typeof custom_id === 'string') seen.add(custom_id);
  }
  if (lines.length === 0 && errors.length === 0) fault('empty_file', null, 'The input file has no requests.');
  if (lines.length > maxLines) fault('too_many_requests', null, `A batch holds at most ${maxLines} requests.`);
  return { lines, errors };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What one request of a batch came to. */
export interface BatchLineResult {
  readonly id: string;
  readonly custom_id: string;
  readonly response: { readonly status_code: number; readonly request_id: string; readonly body: unknown } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** Whether a line’s request was refused or failed. */
export const isFailed = (result: BatchLineResult): boolean =>
  result.error !== null || (result.response?.status_code ?? 500) >= 400;

/** An output file: one result a line. */
export const encodeResults = (results: readonly BatchLineResult[]): Uint8Array =>
  new TextEncoder().encode(results.map((result) => `${JSON.stringify(result)}\n`).join(''));
