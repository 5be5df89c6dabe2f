import { GatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';

export const filePurposes = ['assistants', 'batch', 'fine-tune', 'vision', 'user_data', 'evals'] as const;

/** A file that a client sends: form fields `file`, `purpose`, `expires_after[…]`. */
export interface Upload {
  readonly filename: string;
  readonly purpose: string;
  readonly bytes: Uint8Array;
  readonly expiresAfterSeconds?: number;
}

export async function decodeUpload(bytes: Uint8Array, contentType: string | undefined): Promise<Upload> {
  if (!contentType?.toLowerCase().startsWith('multipart/form-data')) {
    throw new GatewayError('unsupported_media_type', "Send the file as 'multipart/form-data'.");
  }
  const form = await readForm(bytes, contentType);
  const file = form.get('file');
  if (file === null || typeof file === 'string') throw missing('file');
  const purpose = form.get('purpose');
  if (typeof purpose !== 'string') throw missing('purpose');
  if (!filePurposes.some((known) => known === purpose)) {
    const known = filePurposes.map((one) => `'${one}'`).join(', ');
    throw new GatewayError('invalid_request', `Invalid value for 'purpose'. Supported values are: ${known}.`, {
      code: 'invalid_value',
      param: 'purpose',
    });
  }
  const seconds = form.get('expires_after[seconds]');
  return {
    filename: file.name || 'file',
    purpose,
    bytes: new Uint8Array(await file.arrayBuffer()),
    ...(typeof seconds === 'string'
      ? { expiresAfterSeconds: expirySeconds(Number(seconds), 'expires_after[seconds]') }
      : {}),
  };
}

async function readForm(bytes: Uint8Array, contentType: string): Promise<FormData> {
  try {
    const body = bytes.slice().buffer; // a plain ArrayBuffer, as the platform's types want
    return await new Response(body, { headers: { 'content-type': contentType } }).formData();
  } catch {
    throw new GatewayError('invalid_request', 'The form is not valid multipart/form-data.', { code: 'invalid_form' });
  }
}

export function expirySeconds(seconds: number, param: string): number {
  if (Number.isInteger(seconds) && seconds >= 3600 && seconds <= 30 * 24 * 3600) return seconds;
  throw new GatewayError('invalid_request', `Invalid '${param}': expected 3600 to 2592000 seconds.`, {
    code: 'invalid_value',
    param,
  });
}

const missing = (param: string) =>
  new GatewayError('invalid_request', `Missing required parameter: '${param}'.`, {
    code: 'missing_required_parameter',
    param,
  });

export interface FileFacts {
  readonly id: string;
  readonly bytes: number;
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly filename: string;
  readonly purpose: string;
}

export const encodeFile = ({ id, bytes, createdAt, expiresAt, filename, purpose }: FileFacts): JsonObject => ({
  id,
  object: 'file',
  bytes,
  created_at: createdAt,
  ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
  filename,
  purpose,
  status: 'processed',
  status_details: null,
});
