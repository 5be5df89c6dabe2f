import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEnergyMeter } from '../../src/engine/energy.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-powercap-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function zone(name: string, microjoules: number): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'max_energy_range_uj'), '1000000\n');
  await writeFile(join(folder, name, 'energy_uj'), `${microjoules}\n`);
}

test('adds up the packages and not their parts, through a wrap-around', async () => {
  await zone('intel-rapl:0', 100_000);
  await zone('intel-rapl:0:0', 50_000);
  await zone('intel-rapl:1', 900_000);
  const meter = createEnergyMeter(folder);
  await zone('intel-rapl:0', 300_000);
  await zone('intel-rapl:0:0', 900_000);
  await zone('intel-rapl:1', 50_000);
  expect(meter?.take()).toBeCloseTo(0.2 + 0.15);
  expect(meter?.take()).toBe(0);
});

test('says nothing where there are no counters', () => {
  expect(createEnergyMeter(folder)).toBeNull();
  expect(createEnergyMeter(join(folder, 'none'))).toBeNull();
});
