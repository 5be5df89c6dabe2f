import type { Usage } from '../core/event.ts';
import type { RequestRecord } from '../core/record.ts';
import type { Db } from '../ledger/db.ts';
import { insertUsage, usageOf } from '../ledger/usage.ts';

/** As many as a lost database may leave waiting in one isolate. */
const maxWaiting = 1000;

/**
 * Books usage behind the answers: what has ended since the last write goes into D1 as one batch, and what could not be
 * written is tried again with the next request. An isolate that ends before takes it along; the edge promises no more.
 */
export function createBookkeeper(
  db: Db,
  priceOf: (target: string, usage: Usage) => Promise<number | undefined>,
  onError: (error: unknown) => void,
) {
  let waiting: RequestRecord[] = [];
  /** With its price, which may not have been known in time for the record. */
  const priced = async (record: RequestRecord): Promise<RequestRecord> => {
    const { costUsd, target, usage } = record;
    if (costUsd !== undefined || target === undefined || !usage || record.cache === 'hit') return record;
    const usd = await priceOf(target, usage);
    return usd === undefined ? record : { ...record, costUsd: usd };
  };
  return {
    add(record: RequestRecord): void {
      if (waiting.length < maxWaiting && (record.target !== undefined || record.attempts.length > 0))
        waiting.push(record);
    },
    async flush(): Promise<void> {
      if (waiting.length === 0) return;
      const records = waiting;
      waiting = [];
      try {
        const rows = await Promise.all(records.map(priced));
        await db.transaction(rows.map((record) => insertUsage(usageOf(record))));
      } catch (error) {
        waiting = [...records, ...waiting].slice(0, maxWaiting);
        onError(error);
      }
    },
  };
}
