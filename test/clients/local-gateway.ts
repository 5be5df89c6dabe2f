import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { modelPath } from '../engine/model.ts';

// A model's first token may take its time on a busy machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** The real default model, or null where it is not at hand (said aloud; never in CI). */
export const localModel = await modelPath();

/** A gateway over sockets with the real local model under the name `smollm2`. A small model's wit is not under test. */
export async function localGateway(): Promise<RunningGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-clients-'));
  const configFile = join(folder, 'tidegate.yaml');
  writeFileSync(
    configFile,
    `
server: { drain: 2s }
engine: { slots: 4, contextTokens: 2048, threads: 1 }
models: { smollm2: { targets: [{ local: "${localModel}" }] } }
`,
  );
  const gateway = await startGateway({ port: 0, log: { level: 'silent' }, configFile });
  return {
    ...gateway,
    async close() {
      await gateway.close();
      rmSync(folder, { recursive: true });
    },
  };
}

export const model = 'smollm2';
export const hello = [{ role: 'user' as const, content: 'Say hello.' }];
