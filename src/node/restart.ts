import type { Config } from '../config.ts';

/** What a running gateway cannot take up from a changed file: sockets, engines, the ledger's database and its chain. */
const fixed = [
  'server.host',
  'server.port',
  'engine.*',
  'ledger.url',
  'ledger.spool',
  'ledger.spoolBytes',
  'audit.secret',
  'observability.*',
] as const;

/** The settings, as paths in the file, that differ from those the gateway was started with and need a restart. */
export function restartNeeded(started: Config, next: Config): readonly string[] {
  if ((started.ledger === undefined) !== (next.ledger === undefined)) return ['ledger', ...changed(started, next)];
  return changed(started, next);
}

const changed = (started: Config, next: Config): readonly string[] =>
  fixed.flatMap((path) => {
    const [section, field = ''] = path.split('.') as [keyof Config, string];
    const [before, after] = [asRecord(started[section]), asRecord(next[section])];
    if (!before || !after) return [];
    const fields = field === '*' ? [...new Set([...Object.keys(before), ...Object.keys(after)])] : [field];
    return fields
      .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
      .map((name) => `${section}.${name}`);
  });

const asRecord = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
