import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { GatewayError } from '../core/errors.ts';
import { throwIfAborted } from '../core/signals.ts';

/** What a file must be; absent means not known beforehand. */
export interface Expected {
  readonly bytes?: number | undefined;
  readonly sha256?: string | undefined;
}

export interface Verified {
  readonly bytes: number;
  readonly sha256: string;
}

const pieceBytes = 4 * 1024 * 1024;

/** True when the bytes begin a GGUF file of a version llama.cpp still reads. */
export function isGgufHead(head: Uint8Array): boolean {
  if (head.length < 8) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return view.getUint32(0, false) === 0x47475546 && view.getUint32(4, true) >= 2 && view.getUint32(4, true) <= 3;
}

/** Cheap check of a file that was verified before or is not ours: it exists and begins as a GGUF. Throws model_unavailable. */
export async function checkHead(path: string): Promise<{ bytes: number; mtimeMs: number }> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new GatewayError('model_unavailable', `There is no model file at ${path}.`, { cause });
  });
  if (!info.isFile()) throw new GatewayError('model_unavailable', `${path} is a folder; name the .gguf file in it.`);
  const file = await open(path, 'r');
  try {
    const head = new Uint8Array(8);
    const { bytesRead } = await file.read(head, 0, 8, 0);
    if (!isGgufHead(head.subarray(0, bytesRead))) {
      throw new GatewayError('model_unavailable', `${path} is not a GGUF file (version 2 or 3).`);
    }
  } finally {
    await file.close();
  }
  return { bytes: info.size, mtimeMs: info.mtimeMs };
}

/** Size, magic and sha256 of a whole file. Throws model_unavailable that says which of them is wrong. */
export async function verifyFile(
  path: string,
  expected: Expected,
  options: { readonly signal?: AbortSignal | undefined; readonly onBytes?: (read: number, total: number) => void } = {},
): Promise<Verified> {
  const { bytes } = await checkHead(path);
  if (expected.bytes !== undefined && bytes !== expected.bytes) {
    throw new GatewayError(
      'model_unavailable',
      `${path} has ${bytes} bytes instead of ${expected.bytes}: it is truncated or another file.`,
    );
  }
  const sha256 = await sha256Of(path, bytes, options);
  if (expected.sha256 !== undefined && sha256 !== expected.sha256.toLowerCase()) {
    throw new GatewayError(
      'model_unavailable',
      `${path} has the sha256 ${sha256} instead of ${expected.sha256}: it is damaged or another file.`,
    );
  }
  return { bytes, sha256 };
}

async function sha256Of(
  path: string,
  total: number,
  { signal, onBytes }: { signal?: AbortSignal | undefined; onBytes?: (read: number, total: number) => void },
): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  try {
    const piece = new Uint8Array(pieceBytes);
    for (let read = 0; ; ) {
      if (signal) throwIfAborted(signal);
      const { bytesRead } = await file.read(piece, 0, pieceBytes);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, bytesRead));
      read += bytesRead;
      onBytes?.(read, total);
    }
  } finally {
    await file.close();
  }
}
