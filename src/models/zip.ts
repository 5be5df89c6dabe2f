import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { GatewayError } from '../core/errors.ts';

interface ZipEntry {
  readonly method: number;
  readonly compressedBytes: number;
  readonly bytes: number;
  readonly headerOffset: number;
}

/**
 * Writes one entry of a zip archive to `target`, never holding it in memory. Stored and deflated entries, archives under
 * 4 GiB (APPNOTE 4.3); the caller checks the content. Throws model_unavailable.
 */
export async function unzipEntry(
  archive: string,
  name: string,
  target: string,
  { signal, onBytes }: { signal: AbortSignal; onBytes?: (written: number, total: number) => void },
): Promise<void> {
  const entry = await findEntry(archive, name);
  let written = 0;
  const count = new Transform({
    transform(piece: Uint8Array, _encoding, done) {
      written += piece.length;
      onBytes?.(written, entry.bytes);
      done(null, piece);
    },
  });
  const start = entry.headerOffset;
  const end = start + entry.compressedBytes - 1;
  await pipeline(
    createReadStream(archive, { start, end, highWaterMark: 1 << 20 }),
    entry.method === 8 ? createInflateRaw() : new PassThrough(),
    count,
    createWriteStream(target),
    { signal },
  );
  if (written !== entry.bytes) throw damaged(archive);
}

async function findEntry(archive: string, name: string): Promise<ZipEntry> {
  const file = await open(archive, 'r');
  try {
    const { size } = await file.stat();
    const tail = await read(file, Math.max(0, size - 65_557), Math.min(size, 65_557));
    const end = tail.lastIndexOf(Buffer.from('PK\x05\x06'));
    if (end < 0) throw damaged(archive);
    const directory = await read(file, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === 0x02014b50; ) {
      const nameLength = directory.readUInt16LE(at + 28);
      if (directory.toString('utf8', at + 46, at + 46 + nameLength) === name) {
        const local = directory.readUInt32LE(at + 42);
        const header = await read(file, local, 30);
        if (header.readUInt32LE(0) !== 0x04034b50) throw damaged(archive);
        const method = directory.readUInt16LE(at + 10);
        if (method !== 0 && method !== 8) throw damaged(archive);
        return {
          method,
          compressedBytes: directory.readUInt32LE(at + 20),
          bytes: directory.readUInt32LE(at + 24),
          headerOffset: local + 30 + header.readUInt16LE(26) + header.readUInt16LE(28),
        };
      }
      at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    }
    throw new GatewayError('model_unavailable', `The archive ${archive} does not hold ${name}.`);
  } finally {
    await file.close();
  }
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

const damaged = (archive: string) => new GatewayError('model_unavailable', `The archive ${archive} is damaged.`);
