import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { promisify } from 'node:util';

/** What this machine offers to the engine. Bytes; `limited` where a cgroup gives less than the hardware has. */
export interface Machine {
  readonly cpu: { readonly name: string; readonly cores: number; readonly usable: number };
  readonly memory: { readonly total: number; readonly free: number; readonly limit: number | undefined };
  readonly gpus: readonly Gpu[];
}

export interface Gpu {
  readonly name: string;
  readonly backend: 'cuda' | 'metal' | 'vulkan';
  /** Whether the engine's binary for it is installed here. */
  readonly supported: boolean;
}

/** What a local model may use here: cores and memory as the cgroup allows them, and GPUs. */
export async function lookAtMachine(): Promise<Machine> {
  const usable = Math.min(availableParallelism(), cgroupCores() ?? Number.POSITIVE_INFINITY);
  return {
    cpu: { name: cpus()[0]?.model.trim() ?? 'unknown', cores: cpus().length, usable },
    memory: { total: totalmem(), free: freemem(), limit: memoryLimit() },
    gpus: await findGpus(),
  };
}

/** Cores that the cgroup's quota allows; undefined without a quota. */
function cgroupCores(): number | undefined {
  const [quota, period] = (read('/sys/fs/cgroup/cpu.max') ?? '').trim().split(' ').map(Number);
  if (quota && period && Number.isFinite(quota)) return quota / period;
  const oldQuota = Number(read('/sys/fs/cgroup/cpu/cpu.cfs_quota_us') ?? -1);
  const oldPeriod = Number(read('/sys/fs/cgroup/cpu/cpu.cfs_period_us') ?? 0);
  return oldQuota > 0 && oldPeriod > 0 ? oldQuota / oldPeriod : undefined;
}

function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory() ?? 0;
  return limit > 0 && limit < totalmem() ? limit : undefined;
}

async function findGpus(): Promise<readonly Gpu[]> {
  if (process.platform === 'darwin') {
    return process.arch === 'arm64'
      ? [{ name: 'Apple GPU', backend: 'metal', supported: hasBinary('mac-arm64-metal') }]
      : [];
  }
  const nvidia = (await nvidiaNames()).map((name): Gpu => ({ name, backend: 'cuda', supported: hasGpuBinary('cuda') }));
  if (nvidia.length > 0) return nvidia;
  return drmGpus().map((name): Gpu => ({ name, backend: 'vulkan', supported: hasGpuBinary('vulkan') }));
}

async function nvidiaNames(): Promise<readonly string[]> {
  const asked = await promisify(execFile)('nvidia-smi', ['--query-gpu=name,memory.total', '--format=csv,noheader'], {
    timeout: 3_000,
  }).catch(() => undefined);
  if (asked)
    return asked.stdout
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean);
  const driver = '/proc/driver/nvidia/gpus';
  if (!existsSync(driver)) return [];
  return readdirSync(driver).map(
    (gpu) => /^Model:\s*(.+)$/m.exec(read(`${driver}/${gpu}/information`) ?? '')?.[1] ?? 'NVIDIA GPU',
  );
}

/** Cards of AMD and Intel by their PCI vendor, as the kernel's render nodes show them. */
function drmGpus(): readonly string[] {
  if (!existsSync('/sys/class/drm')) return [];
  const vendors: Readonly<Record<string, string>> = { '0x1002': 'AMD GPU', '0x8086': 'Intel GPU' };
  return readdirSync('/sys/class/drm')
    .filter((name) => /^renderD\d+$/.test(name))
    .flatMap((name) => vendors[(read(`/sys/class/drm/${name}/device/vendor`) ?? '').trim()] ?? []);
}

const hasGpuBinary = (backend: 'cuda' | 'vulkan'): boolean =>
  hasBinary(`${process.platform === 'win32' ? 'win' : 'linux'}-x64-${backend}`);

/** False where the package is absent or the empty one of vendor/ stands in for it. */
function hasBinary(name: string): boolean {
  try {
    const entry = createRequire(import.meta.url).resolve(`@node-llama-cpp/${name}/package.json`);
    return (JSON.parse(readFileSync(entry, 'utf8')) as { name?: string }).name !== 'empty'; // any package's own file
  } catch {
    return false;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
