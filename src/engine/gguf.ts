import { open } from 'node:fs/promises';

const minBytes = 24;
const maxTensors = 1_000_000;
const maxEntries = 10_000_000;

/**
 * Refuses a file that cannot be a whole GGUF before native code reads it, with a message that says what is wrong: not
 * there, not a GGUF, counts that the file's size belies.
 */
export async function checkGguf(path: string): Promise<void> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new Error(`there is no file ${path}`);
    throw new Error(`the file ${path} can't be read (${error.code ?? error.message})`);
  });
  try {
    const { size } = await file.stat();
    if (size < minBytes) throw new Error(`the file is no GGUF model: it has only ${size} bytes`);
    const header = Buffer.alloc(minBytes);
    await file.read(header, 0, minBytes, 0);
    if (header.toString('latin1', 0, 4) !== 'GGUF')
      throw new Error('the file is no GGUF model: it does not begin with "GGUF"');
    const version = header.readUInt32LE(4);
    if (version < 2 || version > 3)
      throw new Error(`the file has GGUF version ${version}; versions 2 and 3 can be read`);
    const tensors = header.readBigUInt64LE(8);
    const entries = header.readBigUInt64LE(16);
    // A tensor's description takes at least 32 bytes, a metadata entry 13.
    if (
      tensors > BigInt(Math.min(maxTensors, Math.floor(size / 32))) ||
      entries > BigInt(Math.min(maxEntries, Math.floor(size / 13)))
    ) {
      throw new Error(
        `the file is damaged: it claims ${tensors} tensors and ${entries} metadata entries in ${size} bytes`,
      );
    }
  } finally {
    await file.close();
  }
}
