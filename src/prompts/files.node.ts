import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PromptFiles } from './library.ts';

/** Every prompt file under the folders, by its relative path; of two with one name the later folder's wins. Missing folders are empty. */
export function readPromptFiles(...directories: readonly string[]): PromptFiles {
  const files: Record<string, string> = {};
  for (const directory of directories) {
    for (const path of listed(directory))
      files[path.replaceAll('\\', '/')] = readFileSync(join(directory, path), 'utf8');
  }
  return files;
}

function listed(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.(?:md|txt|jinja)$/.test(path))
      .sort();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
