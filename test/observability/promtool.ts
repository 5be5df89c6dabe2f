import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Path of Prometheus' promtool (Debian: `apt-get install prometheus`); `PROMTOOL` names another place. */
export const promtool = [
  process.env['PROMTOOL'],
  ...(process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'promtool')),
].find((path): path is string => path !== undefined && existsSync(path));

if (!promtool) {
  if (process.env['CI']) throw new Error('promtool is missing: apt-get install prometheus, or set PROMTOOL.');
  console.log('skipped: promtool is not installed (apt-get install prometheus, or set PROMTOOL)');
}
