import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { usableCores } from '../../src/engine/cores.ts';

const files = (content: Record<string, string>) => (path: string) => {
  const text = content[path];
  if (text === undefined) throw new Error('ENOENT');
  return text;
};

test.each([
  { name: 'no quota: all that are allowed', content: {}, cores: availableParallelism() },
  { name: 'an unlimited quota', content: { '/sys/fs/cgroup/cpu.max': 'max 100000\n' }, cores: availableParallelism() },
  { name: 'a quota of one core', content: { '/sys/fs/cgroup/cpu.max': '100000 100000\n' }, cores: 1 },
  { name: 'a quota below one core', content: { '/sys/fs/cgroup/cpu.max': '20000 100000\n' }, cores: 1 },
  {
    name: 'the older form of quota',
    content: { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '100000', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000' },
    cores: 1,
  },
  {
    name: 'the older form without a quota',
    content: { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000' },
    cores: availableParallelism(),
  },
])('threads for $name', ({ content, cores }) => {
  expect(usableCores(files(content))).toBe(cores);
});
