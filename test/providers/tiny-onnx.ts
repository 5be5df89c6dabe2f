import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// ONNX is protobuf: a handful of fields make a model small enough to read here.
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
const number = (field: number, value: number) => Buffer.from([...varint(field * 8), ...varint(value)]);
const bytes = (field: number, ...parts: readonly (Buffer | string)[]) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(body.length)]), body]);
};
const float = 1;
const int64 = 7;

const value = (field: number, name: string, type: number, dimensions: readonly string[]) =>
  bytes(
    field,
    bytes(1, name),
    bytes(2, bytes(1, number(1, type), bytes(2, ...dimensions.map((dimension) => bytes(1, bytes(2, dimension)))))),
  );
const tensor = (name: string, rows: readonly (readonly number[])[]) =>
  bytes(
    5,
    number(1, rows.length),
    number(1, rows[0]?.length ?? 0),
    number(2, float),
    bytes(8, name),
    bytes(9, Buffer.from(Float32Array.from(rows.flat()).buffer)),
  );
const node = (type: string, inputs: readonly string[], output: string, ...attributes: Buffer[]) =>
  bytes(1, ...inputs.map((input) => bytes(1, input)), bytes(2, output), bytes(4, type), ...attributes);
const ints = (name: string, ...values: number[]) =>
  bytes(5, bytes(1, name), number(20, 7), ...values.map((item) => number(8, item)));
const int = (name: string, item: number) => bytes(5, bytes(1, name), number(20, 2), number(3, item));

/** A model that looks the row of each token up in `table`: next-token logits, embeddings, or (averaged) label scores. */
function lookup(table: readonly (readonly number[])[], output: string, average: boolean): Buffer {
  const graph = bytes(
    7,
    node('Gather', ['table', 'input_ids'], average ? 'rows' : output),
    ...(average ? [node('ReduceMean', ['rows'], output, ints('axes', 1), int('keepdims', 0))] : []),
    bytes(2, 'lookup'),
    tensor('table', table),
    value(11, 'input_ids', int64, ['batch', 'length']),
    value(12, output, float, average ? ['batch', 'width'] : ['batch', 'length', 'width']),
  );
  return Buffer.concat([number(1, 8), graph, bytes(8, bytes(1, ''), number(2, 13))]);
}

export interface TinyModel {
  readonly words: readonly string[];
  readonly table: readonly (readonly number[])[];
  readonly output: 'logits' | 'last_hidden_state';
  readonly average?: boolean;
  readonly config: Record<string, unknown>;
}

/** Writes the folder of a model whose vocabulary is `words`, the second of which ends an answer. */
export async function writeTinyOnnx({ words, table, output, average = false, config }: TinyModel): Promise<string> {
  const folder = join(await mkdtemp(join(tmpdir(), 'tidegate-onnx-')), 'tiny');
  await mkdir(join(folder, 'onnx'), { recursive: true });
  const special = words.slice(0, 2).map((content, id) => ({
    id,
    content,
    special: true,
    lstrip: false,
    rstrip: false,
    normalized: false,
    single_word: false,
  }));
  const files: Record<string, unknown> = {
    'config.json': { vocab_size: words.length, eos_token_id: 1, pad_token_id: 1, ...config },
    'generation_config.json': { eos_token_id: 1, pad_token_id: 1 },
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      unk_token: words[0],
      eos_token: words[1],
      pad_token: words[1],
      model_max_length: 64,
    },
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: special,
      normalizer: null,
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: null,
      decoder: null,
      model: { type: 'WordLevel', vocab: Object.fromEntries(words.map((word, id) => [word, id])), unk_token: words[0] },
    },
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), JSON.stringify(content));
  await writeFile(join(folder, 'onnx', 'model.onnx'), lookup(table, output, average));
  return folder;
}
