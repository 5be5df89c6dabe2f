import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the processor packages took, as the kernel's powercap (RAPL) tells it: the whole machine's, not only ours. */
export interface EnergyMeter {
  /** Joules since the last call; the counters' wrap-around is seen through. */
  take(): number;
}

const defaultDirectory = '/sys/class/powercap';

/** Null where there are no counters, or only the administrator may read them. Subzones are parts of their package. */
export function createEnergyMeter(directory = defaultDirectory): EnergyMeter | null {
  const read = (zone: string, file: string) => Number(readFileSync(join(directory, zone, file), 'utf8'));
  let zones: { zone: string; wrap: number; last: number }[];
  try {
    zones = readdirSync(directory)
      .filter((name) => /^intel-rapl:\d+$/.test(name))
      .map((zone) => ({ zone, wrap: read(zone, 'max_energy_range_uj'), last: read(zone, 'energy_uj') }));
  } catch {
    return null;
  }
  if (zones.length === 0) return null;
  return {
    take() {
      let microjoules = 0;
      for (const one of zones) {
        const now = read(one.zone, 'energy_uj');
        microjoules += now >= one.last ? now - one.last : now - one.last + one.wrap;
        one.last = now;
      }
      return microjoules / 1e6;
    },
  };
}
