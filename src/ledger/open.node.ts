import { existsSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { nodeDigest } from '../core/digest.node.ts';
import { GatewayError } from '../core/errors.ts';
import { withNotedHead } from './audit-head.node.ts';
import { type Books, type BooksAlert, openBooks } from './books.ts';
import type { AuditConfig, LedgerConfig } from './config.ts';
import type { Db } from './db.ts';
import type { KeyTable } from './keys.ts';
import { type Ledger, openTables } from './ledger.ts';
import { openPostgres } from './postgres.node.ts';
import { openSpool } from './spool.node.ts';
import { openSqlite } from './sqlite.node.ts';

/** The path of a SQLite ledger; undefined for others. Relative ones are below `folder`. */
export const ledgerFile = ({ url }: LedgerConfig, folder: string): string | undefined =>
  url.startsWith('file:') ? resolve(folder, url.slice('file:'.length)) : undefined;

/** Whether a ledger that nobody configured is there all the same, made by an earlier `tidegate keys create`. */
export const ledgerExists = (config: LedgerConfig, folder: string): boolean => {
  const file = ledgerFile(config, folder);
  return file !== undefined && existsSync(file);
};

/** Opens the tables alone: for commands that read, or change keys. */
export async function openLedger(config: LedgerConfig, audit: AuditConfig, folder: string): Promise<Ledger> {
  const file = ledgerFile(config, folder);
  let db: Db | undefined;
  try {
    db = file !== undefined ? openSqlite(file) : await openPostgres(config.url);
    const ledger = await openTables(db, { auditDigest: nodeDigest(audit.secret) });
    return { ...ledger, audit: withNotedHead(ledger.audit, resolve(folder, config.spool, 'audit.head')) };
  } catch (error) {
    await db?.close().catch(() => {});
    const said = error instanceof GatewayError ? error.cause : error; // "out of service" is for callers
    const reason = said instanceof Error ? said.message : String(said);
    const where = file ?? new URL(config.url).host;
    throw new Error(`The ledger at ${where} cannot be opened (${reason}). Check ledger.url.`, { cause: error });
  }
}

/**
 * The keys of a ledger that nobody configured, once it is there: `tidegate keys create` may make it while a gateway runs,
 * and its first key closes that one too. `found` is told when it is opened.
 */
export function keysMadeLater(
  config: LedgerConfig,
  audit: AuditConfig,
  folder: string,
  found: () => void,
): Pick<KeyTable, 'any' | 'byDigest'> & { close(): Promise<void> } {
  let opened: Promise<Ledger> | undefined;
  const open = async (): Promise<Ledger> => {
    try {
      const ledger = await openLedger(config, audit, folder);
      found();
      return ledger;
    } catch (error) {
      opened = undefined; // it is tried again
      throw error;
    }
  };
  const keys = async () => {
    if (!opened && ledgerExists(config, folder)) opened = open();
    return (await opened)?.keys;
  };
  return {
    any: async () => (await keys())?.any() ?? false,
    byDigest: async (digest) => (await keys())?.byDigest(digest),
    close: async () => (await opened?.catch(() => undefined))?.db.close(),
  };
}

/** Opens tables and books for a gateway. What an earlier life left in the write-ahead file is booked first. */
export async function openLedgerWithBooks(
  config: LedgerConfig,
  audit: AuditConfig,
  folder: string,
  alert: (alert: BooksAlert) => void,
  whenLost: () => LedgerConfig['whenLost'] = () => config.whenLost,
): Promise<{ readonly ledger: Ledger; readonly books: Books }> {
  const ledger = await openLedger(config, audit, folder);
  const queue = await openSpool({ folder: resolve(folder, config.spool), maxBytes: config.spoolBytes });
  const rejected = resolve(folder, config.spool, 'rejected.jsonl');
  const reject = (records: readonly string[], error: unknown) => {
    alert({ state: 'ok', error: new Error(`The database does not take an entry; see ${rejected}`, { cause: error }) });
    return appendFile(rejected, records.map((record) => `${record}\n`).join(''));
  };
  const books = await openBooks({ db: ledger.db, audit: ledger.audit, queue, whenLost, alert, reject });
  return { ledger, books };
}
