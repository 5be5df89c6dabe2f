import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kvBytesPerToken, readGguf } from '../../src/engine/gguf.ts';
import { modelPath } from './model.ts';

const path = await modelPath();
const folder = await mkdtemp(join(tmpdir(), 'tidegate-gguf-'));
const write = async (bytes: Uint8Array): Promise<string> => {
  const file = join(folder, 'model.gguf');
  await writeFile(file, bytes);
  return file;
};

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const gguf = (tensors: number | bigint, entries: number | bigint, ...rest: Buffer[]) =>
  Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors), u64(entries), ...rest]);
const tensor = (elements: number | bigint, offset: number | bigint) =>
  Buffer.concat([text('t'), u32(1), u64(elements), u32(0), u64(offset)]);

test.skipIf(path === null)('reads the header of a real model', async () => {
  const facts = await readGguf(path ?? '');
  expect(facts.metadata.get('general.architecture')).toBe('llama');
  expect(facts.metadata.get('llama.block_count')).toBe(30);
  expect(kvBytesPerToken(facts)).toBe(30 * 3 * 64 * 2 * 2);
});

test.each([
  { name: 'too short', bytes: Buffer.from('GGUF'), says: /only 4 bytes/ },
  { name: 'more tensors than bytes', bytes: gguf(2n ** 60n, 0), says: /damaged: it claims/ },
  { name: 'a text longer than the file', bytes: gguf(0, 1, u64(2n ** 40n), Buffer.alloc(64)), says: /damaged/ },
  {
    name: 'a metadata type that is none',
    bytes: gguf(0, 1, text('k'), u32(99), Buffer.alloc(64)),
    says: /unknown type/,
  },
  {
    name: 'an array longer than the file',
    bytes: gguf(0, 1, text('k'), u32(9), u32(4), u64(2n ** 50n), Buffer.alloc(64)),
    says: /beyond/,
  },
  { name: 'a tensor of nine dimensions', bytes: gguf(1, 0, text('t'), u32(9), Buffer.alloc(64)), says: /dimensions/ },
  { name: 'a tensor that ends behind the file', bytes: gguf(1, 0, tensor(1_000_000, 0)), says: /cut off/ },
  { name: 'a tensor that begins behind the file', bytes: gguf(1, 0, tensor(4, 2n ** 50n)), says: /cut off/ },
])('refuses $name', async ({ bytes, says }) => {
  await expect(readGguf(await write(bytes))).rejects.toThrow(says);
});

test('any bytes end in a header or an Error, soon', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const file = await write(Buffer.concat([gguf(1, 2), bytes]));
      await readGguf(file).catch((error: unknown) => expect(error).toBeInstanceOf(Error));
    }),
    { numRuns: 100 },
  );
});
