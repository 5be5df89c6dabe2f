import type { Digest } from './core/digest.ts';
import type { RouteEntry } from './http/deps.ts';
import type { HttpDeps } from './http/env.ts';
import { adminKeyRoutes } from './http/routes/admin-keys.ts';
import { reportRoutes } from './http/routes/admin-usage.ts';
import { forgetCaller } from './ledger/forget.ts';
import type { KeyRecord } from './ledger/key-record.ts';
import type { Ledger } from './ledger/ledger.ts';
import { periodOf } from './policy/budgets.ts';
import { createKeyAdmin, type KeyAdmin } from './policy/key-admin.ts';
import type { Keyring } from './policy/keyring.ts';

/** What of the configuration these routes follow, over its reloads. */
export interface AdminRules {
  readonly digest: Digest;
  readonly fixed: readonly KeyRecord[];
  readonly keyring: Keyring;
}

/** Keys, usage and audit over HTTP, wherever there is a ledger. `settled`: resolves when what was booked can be read. */
export function adminRoutes(
  deps: HttpDeps,
  { keys, usage, audit, contents, db }: Ledger,
  settled: () => Promise<void>,
  rules: () => AdminRules,
): readonly RouteEntry[] {
  const spent = (id: string) => {
    const { fromMs, toMs } = periodOf('month', Date.now());
    return usage.spent('key', id, fromMs, toMs);
  };
  const admin = (): KeyAdmin => {
    const { digest, fixed, keyring } = rules();
    return createKeyAdmin({ keys, audit, digest, fixed, spent, forget: keyring.forget });
  };
  return [
    ...adminKeyRoutes(deps, {
      list: () => admin().list(),
      create: (wish, actor) => admin().create(wish, actor),
      rotate: (id, overlapMs, actor) => admin().rotate(id, overlapMs, actor),
      revoke: (id, actor) => admin().revoke(id, actor),
    }),
    ...reportRoutes(deps, {
      usage,
      audit,
      settled,
      contents: (query) => contents.list(query),
      forget: (id, actor) => forgetCaller(db, audit, id, actor),
    }),
  ];
}
