import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** GGUF files made from a real one, for what can't be had as a model of its own: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
interface Entry {
  readonly key: string;
  /** Type and value as they stand in the file. */
  readonly bytes: Buffer;
}
interface Tensor {
  readonly name: string;
  /** Dimensions and type as they stand in the file. */
  readonly shape: Buffer;
  readonly data: Buffer;
}
interface Gguf {
  readonly entries: readonly Entry[];
  readonly tensors: readonly Tensor[];
}

const alignment = 32;
const fixedBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const u16 = 2;
const u32 = 4;
const i32 = 5;

async function read(path: string): Promise<Gguf> {
  const file = await readFile(path);
  let at = 8;
  const moved = (bytes: number) => {
    at += bytes;
    return at - bytes;
  };
  const count = () => Number(file.readBigUInt64LE(moved(8)));
  const int = () => file.readUInt32LE(moved(4));
  const string = () => {
    const start = moved(count());
    return file.toString('utf8', start, at);
  };
  const skip = (type: number): void => {
    if (type === 8) string();
    else if (type === 9) {
      const inner = int();
      const length = count();
      for (let i = 0; i < length; i++) skip(inner);
    } else at += fixedBytes[type] ?? 0;
  };
  const [tensorCount, entryCount] = [count(), count()];
  const entries = Array.from({ length: entryCount }, () => {
    const key = string();
    const start = at;
    skip(int());
    return { key, bytes: file.subarray(start, at) };
  });
  const infos = Array.from({ length: tensorCount }, () => {
    const name = string();
    const start = at;
    at += 4 + 8 * file.readUInt32LE(at) + 4;
    return { name, shape: file.subarray(start, at), offset: count() };
  });
  const dataStart = Math.ceil(at / alignment) * alignment;
  const starts = [...infos.map(({ offset }) => offset), file.length - dataStart].sort((a, b) => a - b);
  return {
    entries,
    tensors: infos.map(({ name, shape, offset }) => {
      const end = starts.find((start) => start > offset) ?? offset;
      return { name, shape, data: file.subarray(dataStart + offset, dataStart + end) };
    }),
  };
}

const text = (value: string) => Buffer.concat([count(value.length), Buffer.from(value)]);
function count(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
function number(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(type === u16 ? 6 : 8);
  bytes.writeUInt32LE(type);
  if (type === u16) bytes.writeUInt16LE(value, 4);
  else bytes.writeInt32LE(value, 4);
  return bytes;
}

async function write(path: string, { entries, tensors }: Gguf): Promise<void> {
  const padded = (bytes: Buffer) =>
    Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.length % alignment)) % alignment)]);
  let offset = 0;
  const infos: Buffer[] = [];
  const data = tensors.map((tensor) => {
    infos.push(text(tensor.name), tensor.shape, count(offset));
    const bytes = padded(tensor.data);
    offset += bytes.length;
    return bytes;
  });
  const head = Buffer.concat([
    Buffer.from('GGUF\x03\0\0\0', 'latin1'),
    count(tensors.length),
    count(entries.length),
    ...entries.flatMap(({ key, bytes }) => [text(key), bytes]),
    ...infos,
  ]);
  await writeFile(path, Buffer.concat([padded(head), ...data]));
}

const made: string[] = [];
async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'tidegate-gguf-'));
  made.push(path);
  return path;
}
/** Deletes the files made so far: they are as large as the model. */
export const removeMade = () => Promise.all(made.splice(0).map((path) => rm(path, { recursive: true })));
const replaced = (entries: readonly Entry[], ...changed: readonly Entry[]) => [
  ...entries.filter(({ key }) => !changed.some((one) => one.key === key)),
  ...changed,
];

/** The model with only its first layers: the same vocabulary, and next to no idea of language. */
export async function withLayers(path: string, layers: number): Promise<string> {
  const { entries, tensors } = await read(path);
  const target = join(await folder(), 'few-layers.gguf');
  await write(target, {
    entries: replaced(entries, { key: 'llama.block_count', bytes: number(u32, layers) }),
    tensors: tensors.filter(({ name }) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? 0) < layers),
  });
  return target;
}

/** The model with other text for one token. */
export async function withOtherVocabulary(path: string): Promise<string> {
  const { entries, tensors } = await read(path);
  const target = join(await folder(), 'other-vocabulary.gguf');
  const tokens = entries.find(({ key }) => key === 'tokenizer.ggml.tokens');
  if (!tokens) throw new Error('the model has tokens');
  const bytes = Buffer.from(tokens.bytes);
  const at = bytes.indexOf(text('the'), 0); // a token's length and text
  bytes.write('eht', at + 8);
  await write(target, { entries: replaced(entries, { key: 'tokenizer.ggml.tokens', bytes }), tensors });
  return target;
}

/** The model with tokens for filling gaps, which it never saw used so: prefix, suffix, middle and file separator. */
export async function withFillInMiddle(path: string): Promise<string> {
  const { entries, tensors } = await read(path);
  const target = join(await folder(), 'fill-in-middle.gguf');
  const token = (name: string, id: number) => ({
    key: `tokenizer.ggml.fim_${name}_token_id`,
    bytes: number(u32, id),
  });
  const tokens = [token('pre', 7), token('suf', 8), token('mid', 9), token('sep', 5)];
  await write(target, { entries: [...entries, ...tokens], tensors });
  return target;
}

/** The model in parts, as `llama-gguf-split` makes them; the paths in order. */
export async function shards(path: string, parts: number): Promise<readonly string[]> {
  const { entries, tensors } = await read(path);
  const place = await folder();
  const size = Math.ceil(tensors.length / parts);
  const five = (n: number) => String(n).padStart(5, '0');
  const paths: string[] = [];
  for (let part = 0; part < parts; part++) {
    const split = [
      { key: 'split.no', bytes: number(u16, part) },
      { key: 'split.count', bytes: number(u16, parts) },
      { key: 'split.tensors.count', bytes: number(i32, tensors.length) },
    ];
    const target = join(place, `model-${five(part + 1)}-of-${five(parts)}.gguf`);
    await write(target, {
      entries: part === 0 ? replaced(entries, ...split) : split,
      tensors: tensors.slice(part * size, (part + 1) * size),
    });
    paths.push(target);
  }
  return paths;
}
