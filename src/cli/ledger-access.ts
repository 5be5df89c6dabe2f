import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Config } from '../config.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { type Cli, CliError } from './cli.ts';

/** The ledger that a gateway with this configuration uses; closed when `use` is through. */
export async function withLedger<T>(
  cli: Cli,
  configFile: string | undefined,
  { create }: { readonly create: boolean },
  use: (ledger: Ledger, config: Config) => Promise<T>,
): Promise<T> {
  const [{ loadConfig }, { configSchema }, { ledgerConfig }, { ledgerFile, openLedger }] = await Promise.all([
    import('../node/config-file.ts'),
    import('../config.ts'),
    import('../ledger/config.ts'),
    import('../ledger/open.node.ts'),
  ]);
  const file = configFile ?? (existsSync('tidegate.yaml') ? 'tidegate.yaml' : undefined);
  const config = file ? await loadConfig(resolve(file), cli.env) : configSchema().parse({});
  const settings = config.ledger ?? ledgerConfig().parse({});
  const folder = resolve(file ? dirname(file) : '.');
  const path = ledgerFile(settings, folder);
  if (!create && path !== undefined && !existsSync(path)) {
    throw new CliError(
      `There is no ledger at ${path} yet. "tidegate keys create --name NAME" makes one, or set ledger.url.`,
    );
  }
  const ledger = await openLedger(settings, config.audit, folder);
  try {
    return await use(ledger, config);
  } finally {
    await ledger.db.close();
  }
}

/** Who the audit says it was. */
export const actorOf = (cli: Cli): string => `cli:${cli.env['USER'] ?? cli.env['LOGNAME'] ?? 'unknown'}`;
