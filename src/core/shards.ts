/**
 * Names of all files of a model that is split, in order, by the name of any (`model-00001-of-00003.gguf`, as
 * llama-gguf-split writes them); a whole file alone. Folders and addresses in front stay.
 */
export function shardNames(file: string): readonly string[] {
  const [, stem = '', , count = ''] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/is.exec(file) ?? [];
  const most = Number(count);
  if (most < 1 || most > 1000) return [file];
  return Array.from({ length: most }, (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${count}.gguf`);
}
