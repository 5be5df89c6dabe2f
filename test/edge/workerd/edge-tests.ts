import { readdirSync } from 'node:fs';
import { build } from 'esbuild';

const rooms = ['wire', 'http', 'filters', 'cache', 'policy', 'routing', 'prompts', 'providers'];

/** What workerd has not: sockets to listen on, files, child processes, native code, code made from text. */
const nodeOnly =
  /^(node:(fs|child_process|http|net|worker_threads|dns|os|cluster)\b|undici$|prom-client$|libsql$|pg$|redis$|ajv$|node-llama-cpp$|@huggingface\/transformers$)/;

/** The test files of rooms that the edge has too, as far as nothing they import is for Node only. */
export async function edgeTests(): Promise<readonly string[]> {
  const entryPoints = rooms.flatMap((room) =>
    readdirSync(`test/${room}`, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.test.ts'))
      .map((file) => `test/${room}/${file}`),
  );
  const { metafile } = await build({
    entryPoints,
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'dist/edge-tests',
    platform: 'node',
    format: 'esm',
    packages: 'external',
    loader: { '.md': 'text' },
    logLevel: 'silent',
  });
  const needsNode = ({ inputs, imports }: (typeof metafile.outputs)[string]) =>
    Object.keys(inputs).some((file) => /\.node\.ts$|^src\/(node|engine|cli)\b/.test(file)) ||
    imports.some(({ path, external }) => external && nodeOnly.test(path));
  return Object.values(metafile.outputs)
    .filter((output) => output.entryPoint !== undefined && !needsNode(output))
    .map(({ entryPoint }) => entryPoint ?? '');
}
