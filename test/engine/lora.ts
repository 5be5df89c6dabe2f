import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const pair = (key: string, value: string) => Buffer.concat([text(key), u32(8), text(value)]);

/** A LoRA adapter of rank 4 over one projection of a llama of `width`, with weights all alike: enough to change a text. */
export async function writeLora(width: number, weight: number): Promise<string> {
  const alpha = Buffer.alloc(4);
  alpha.writeFloatLE(8);
  const rank = 4;
  const bytes = width * rank * 4;
  const tensor = (name: string, rows: number, columns: number, offset: number) =>
    Buffer.concat([text(name), u32(2), u64(rows), u64(columns), u32(0), u64(offset)]);
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(2),
    u64(4),
    pair('general.type', 'adapter'),
    pair('general.architecture', 'llama'),
    pair('adapter.type', 'lora'),
    Buffer.concat([text('adapter.lora.alpha'), u32(6), alpha]),
    tensor('blk.3.attn_q.weight.lora_a', width, rank, 0),
    tensor('blk.3.attn_q.weight.lora_b', rank, width, bytes),
  ]);
  const padding = Buffer.alloc((32 - (head.length % 32)) % 32);
  const values = Buffer.from(new Float32Array(width * rank * 2).map((_, i) => weight * Math.sin(i)).buffer);
  const file = join(await mkdtemp(join(tmpdir(), 'tidegate-lora-')), 'adapter.gguf');
  await writeFile(file, Buffer.concat([head, padding, values]));
  return file;
}
