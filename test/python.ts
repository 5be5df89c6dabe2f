import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** The Python that has `module`: the one .ci/run sets up, or the system's. Undefined (with a reason) where none has it; CI never goes without. */
export function python(module: string): string | undefined {
  for (const file of ['.tidegate/python/bin/python', 'python3']) {
    if (file.includes('/') && !existsSync(file)) continue;
    if (spawnSync(file, ['-c', `import ${module}`]).status === 0) return file;
  }
  if (process.env['CI']) throw new Error(`Python's ${module} is missing; .ci/run installs it.`);
  console.warn(`skipped: Python's ${module} is not installed`);
  return undefined;
}
