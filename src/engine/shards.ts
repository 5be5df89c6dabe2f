import { basename } from 'node:path';
import { shardNames } from '../core/shards.ts';
import { type GgufFacts, readGguf } from './gguf.ts';

/**
 * The header of a model's file; of a split model that of its first part, with the sizes and tensors of all. llama.cpp
 * finds the other parts by their names and ends the process where one lies: each is read before. Throws Error.
 */
export async function readModelFile(path: string): Promise<GgufFacts> {
  const facts = await readGguf(path);
  const number = (name: string) => Number(facts.metadata.get(name) ?? 0);
  const count = number('split.count');
  if (count <= 1) return facts;
  const paths = shardNames(path);
  const place = `part ${number('split.no') + 1} of ${count} of a model`;
  if (paths.length !== count) {
    throw new Error(
      `the file is ${place}, which must be named like model-00001-of-${String(count).padStart(5, '0')}.gguf`,
    );
  }
  if (number('split.no') !== 0) throw new Error(`the file is ${place}: name the first, ${basename(paths[0] ?? '')}`);
  let { sizeBytes, tensors } = facts;
  for (const [i, part] of paths.entries()) {
    if (i === 0) continue;
    const own = await readGguf(part).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`part ${i + 1} of ${count} is missing or damaged: ${reason}`, { cause: error });
    });
    if (Number(own.metadata.get('split.no') ?? -1) !== i || Number(own.metadata.get('split.count')) !== count) {
      throw new Error(`${basename(part)} is not part ${i + 1} of ${count}`);
    }
    sizeBytes += own.sizeBytes;
    tensors += own.tensors;
  }
  const wanted = number('split.tensors.count');
  if (tensors !== wanted) throw new Error(`its ${count} parts have ${tensors} tensors instead of ${wanted}`);
  return { ...facts, sizeBytes, tensors };
}
