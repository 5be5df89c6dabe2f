import { GatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { invalidValue, missingParameter } from '../validate.ts';

export const filePurposes = ['assistants', 'batch', 'fine-tune', 'vision', 'user_data', 'evals'] as const;

/** A file that a client sends: form fields `file`, `purpose`, `expires_after[…]`. */
export interface Upload {
  readonly filename: string;
  readonly purpose: string;
  readonly bytes: Uint8Array;
  readonly expiresAfterSeconds?: number;
}

/** The form of `POST /v1/files`. Throws unsupported_media_type | invalid_request. */
export async function decodeUpload(bytes: Uint8Array, contentType: string | undefined): Promise<Upload> {
  if (!contentType?.toLowerCase().startsWith('multipart/form-data')) {
    throw new GatewayError('unsupported_media_type', "Send the file as 'multipart/form-data'.");
  }
  const form = await readForm(bytes, contentType);
  const file = form.get('file');
  if (file === null || typeof file === 'string') throw missingParameter('file');
  const purpose = form.get('purpose');
  if (typeof purpose !== 'string') throw missingParameter('purpose');
  if (!filePurposes.some((known) => known === purpose)) {
    const known = filePurposes.map((one) => `'${one}'`).join(', ');
    throw invalidValue('purpose', `Invalid value for 'purpose'. Supported values are: ${known}.`);
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

/** The form in a body. Throws invalid_request where it is none. */
export async function readForm(bytes: Uint8Array, contentType: string): Promise<FormData> {
  try {
    const body = new Uint8Array(bytes); // over a plain ArrayBuffer, as the platform's types want
    return await new Response(body, { headers: { 'content-type': contentType } }).formData();
  } catch {
    throw new GatewayError('invalid_request', 'The form is not valid multipart/form-data.', { code: 'invalid_form' });
  }
}

/** Checks an expiry: an hour to thirty days, as OpenAI has it. Throws invalid_request. */
export function expirySeconds(seconds: number, param: string): number {
  if (Number.isInteger(seconds) && seconds >= 3600 && seconds <= 30 * 24 * 3600) return seconds;
  throw invalidValue(param, `Invalid '${param}': expected 3600 to 2592000 seconds.`);
}

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
