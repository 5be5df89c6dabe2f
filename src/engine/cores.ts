import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/**
 * Cores that this process may use: those it is allowed to run on, and no more than the container's CPU quota. llama.cpp
 * counts the machine's cores, and threads beyond the quota only wait for each other.
 */
export function usableCores(read: (path: string) => string = (path) => readFileSync(path, 'utf8')): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(quotaCores(read) + 0.5)));
}

function quotaCores(read: (path: string) => string): number {
  const tryRead = (path: string): string[] => {
    try {
      return read(path).trim().split(/\s+/);
    } catch {
      return [];
    }
  };
  const [quota, period] = tryRead('/sys/fs/cgroup/cpu.max');
  const cores = Number(quota) / Number(period);
  if (cores > 0) return cores;
  const oldQuota = Number(tryRead('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')[0]);
  const oldCores = oldQuota / Number(tryRead('/sys/fs/cgroup/cpu/cpu.cfs_period_us')[0]);
  return oldCores > 0 ? oldCores : Number.POSITIVE_INFINITY;
}
