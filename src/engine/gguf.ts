import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';

/** What a GGUF file's header tells; arrays are left out, but for their lengths. */
export interface GgufFacts {
  readonly sizeBytes: number;
  readonly version: number;
  readonly tensors: number;
  readonly metadata: ReadonlyMap<string, string | number | bigint | boolean>;
}

const maxHeaderBytes = 256 * 2 ** 20;
const maxStringBytes = 64 * 2 ** 20;
/** The fixed-size value types by their number (8 is a string, 9 an array): bytes, and how they are read. */
const valueTypes: Readonly<
  Record<number, readonly [bytes: number, read: (value: Buffer) => number | bigint | boolean]>
> = {
  0: [1, (value) => value.readUInt8()],
  1: [1, (value) => value.readInt8()],
  2: [2, (value) => value.readUInt16LE()],
  3: [2, (value) => value.readInt16LE()],
  4: [4, (value) => value.readUInt32LE()],
  5: [4, (value) => value.readInt32LE()],
  6: [4, (value) => value.readFloatLE()],
  7: [1, (value) => value.readUInt8() !== 0],
  10: [8, (value) => value.readBigUInt64LE()],
  11: [8, (value) => value.readBigInt64LE()],
  12: [8, (value) => value.readDoubleLE()],
};
/** Block length and bytes of ggml's tensor types; unknown ones are not checked. */
const tensorTypes: Readonly<Record<number, readonly [number, number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  9: [32, 36],
  10: [256, 84],
  11: [256, 110],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  15: [256, 292],
  24: [1, 1],
  25: [1, 2],
  26: [1, 4],
  27: [1, 8],
  28: [1, 8],
  30: [1, 2],
};

/**
 * Reads a GGUF header with every length checked against the file, before native code does: a file that is missing, of
 * another kind, cut off or lying about its sizes ends here, in words. Throws Error.
 */
export async function readGguf(path: string): Promise<GgufFacts> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new Error(`there is no file ${basename(path)}`);
    throw new Error(`the file ${basename(path)} can't be read (${error.code ?? error.message})`);
  });
  try {
    return await readHeader(file, (await file.stat()).size);
  } finally {
    await file.close();
  }
}

async function readHeader(file: FileHandle, size: number): Promise<GgufFacts> {
  if (size < 24) throw new Error(`the file is no GGUF model: it has only ${size} bytes`);
  const reader = createReader(file, size);
  if ((await reader.take(4)).toString('latin1') !== 'GGUF') {
    throw new Error('the file is no GGUF model: it does not begin with "GGUF"');
  }
  const version = (await reader.take(4)).readUInt32LE(0);
  if (version < 2 || version > 3) throw new Error(`the file has GGUF version ${version}; versions 2 and 3 can be read`);
  const tensors = await reader.count();
  const entries = await reader.count();
  // A tensor's description takes at least 32 bytes, a metadata entry 13.
  if (tensors > size / 32 || entries > size / 13) {
    throw new Error(
      `the file is damaged: it claims ${tensors} tensors and ${entries} metadata entries in ${size} bytes`,
    );
  }
  const metadata = new Map<string, string | number | bigint | boolean>();
  for (let i = 0; i < entries; i++) {
    const key = await reader.text();
    const value = await readValue(reader, (await reader.take(4)).readUInt32LE(0), 0);
    if (value !== undefined) metadata.set(key, value);
  }
  const alignment = Number(metadata.get('general.alignment') ?? 32);
  if (!(alignment > 0 && alignment <= 65_536))
    throw new Error(`the file is damaged: an alignment of ${alignment} bytes`);
  let dataBytes = 0;
  for (let i = 0; i < tensors; i++) dataBytes = Math.max(dataBytes, await readTensor(reader));
  const dataStart = Math.ceil(reader.position() / alignment) * alignment;
  if (dataStart + dataBytes > size) {
    throw new Error(`the file is cut off: it has ${size} bytes and should have ${dataStart + dataBytes}`);
  }
  return { sizeBytes: size, version, tensors, metadata };
}

/** Where the tensor ends, counted from the start of the data. */
async function readTensor(reader: Reader): Promise<number> {
  const name = await reader.text();
  const dimensions = (await reader.take(4)).readUInt32LE(0);
  if (dimensions > 4) throw new Error(`the file is damaged: tensor ${name.slice(0, 64)} has ${dimensions} dimensions`);
  let elements = 1;
  for (let i = 0; i < dimensions; i++) elements *= await reader.count();
  const type = (await reader.take(4)).readUInt32LE(0);
  const offset = await reader.count();
  const [length, bytes] = tensorTypes[type] ?? [1, 0];
  return offset + Math.ceil(elements / length) * bytes;
}

async function readValue(
  reader: Reader,
  type: number,
  depth: number,
): Promise<string | number | bigint | boolean | undefined> {
  if (type === 8) return reader.text();
  if (type === 9) {
    if (depth > 4) throw new Error('the file is damaged: its metadata nests too deep');
    const inner = (await reader.take(4)).readUInt32LE(0);
    const length = await reader.count();
    const fixed = valueTypes[inner];
    if (fixed) reader.skip(length * fixed[0]);
    else for (let i = 0; i < length; i++) await readValue(reader, inner, depth + 1);
    return undefined;
  }
  const [bytes, read] = valueTypes[type] ?? [];
  if (!bytes || !read) throw new Error(`the file is damaged: metadata of the unknown type ${type}`);
  return read(await reader.take(bytes));
}

interface Reader {
  take(bytes: number): Promise<Buffer>;
  skip(bytes: number): void;
  text(): Promise<string>;
  /** A 64-bit length. */
  count(): Promise<number>;
  position(): number;
}

/** Reads forward through a window; every request is checked against the file's end first. */
function createReader(file: FileHandle, size: number): Reader {
  let window = Buffer.alloc(0);
  let windowStart = 0;
  let at = 0;
  const check = (bytes: number) => {
    if (at + bytes > size)
      throw new Error(`the file is cut off or damaged: its header goes on beyond its ${size} bytes`);
    if (at + bytes > maxHeaderBytes)
      throw new Error(`the file is damaged: its header is larger than ${maxHeaderBytes} bytes`);
  };
  const reader: Reader = {
    async take(bytes) {
      check(bytes);
      if (at < windowStart || at + bytes > windowStart + window.length) {
        window = Buffer.alloc(Math.min(Math.max(bytes, 2 ** 20), size - at));
        windowStart = at;
        await file.read(window, 0, window.length, at);
      }
      const from = at - windowStart;
      at += bytes;
      return window.subarray(from, from + bytes);
    },
    skip(bytes) {
      check(bytes);
      at += bytes;
    },
    async text() {
      const length = await reader.count();
      if (length > maxStringBytes) throw new Error(`the file is damaged: a text of ${length} bytes in its header`);
      return (await reader.take(length)).toString('utf8');
    },
    async count() {
      return Number((await reader.take(8)).readBigUInt64LE(0));
    },
    position: () => at,
  };
  return reader;
}

/** Bytes of KV that one token takes, from the header, for cells of `bytesPerCell`; 0 where it doesn't say. */
export function kvBytesPerToken({ metadata }: GgufFacts, keyBytes = 2, valueBytesPerCell = 2): number {
  const architecture = metadata.get('general.architecture');
  const number = (name: string): number | undefined => {
    const value = metadata.get(`${architecture}.${name}`);
    return value === undefined ? undefined : Number(value);
  };
  const layers = number('block_count') ?? 0;
  const heads = number('attention.head_count') ?? 1;
  const kvHeads = number('attention.head_count_kv') ?? heads;
  const headLength = (number('embedding_length') ?? 0) / Math.max(1, heads);
  const keys = (number('attention.key_length') ?? headLength) * keyBytes;
  const values = (number('attention.value_length') ?? headLength) * valueBytesPerCell;
  return Math.round(layers * kvHeads * (keys + values));
}
