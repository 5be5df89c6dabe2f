import * as z from 'zod';
import { bytes, duration } from '../config-values.ts';
import { once } from '../core/once.ts';

export const ledgerConfig = once(() =>
  z
    .strictObject({
      url: z
        .string()
        .regex(/^(file:.+|postgres(ql)?:\/\/.+|d1)$/, 'write file:path, postgres://user@host/database or d1')
        .default('file:.tidegate/ledger.db')
        .describe(
          'Where keys, usage, audit and stored objects are: a SQLite file, a Postgres database, or D1 at the edge.',
        ),
      spool: z
        .string()
        .default('.tidegate/spool')
        .describe('Folder of the write-ahead files, on a local disk. Several gateways may share it.'),
      spoolBytes: bytes()
        .default(1024 ** 3)
        .describe('Most that may wait there while the database is away.'),
      whenLost: z
        .enum(['serve', 'refuse'])
        .default('serve')
        .describe(
          'When usage can be written nowhere: serve callers without a budget and keep it in memory, or refuse all.',
        ),
      usageRetention: duration().optional().describe('Usage older than so is deleted: 400d. Kept for ever if absent.'),
    })
    .describe('The ledger. Used when this section is there, or its file.'),
);

export const auditConfig = once(() =>
  z
    .strictObject({
      requests: z
        .boolean()
        .default(true)
        .describe('Note each request: who, when, which model and route, what filters decided.'),
      secret: z
        .string()
        .min(16)
        .optional()
        .describe(
          'Makes the chain unforgeable for whoever can write to the database only: "${TIDEGATE_AUDIT_SECRET}".',
        ),
      retention: duration()
        .optional()
        .describe('Rows older than so are deleted, and the chain notes it. Kept for ever if absent.'),
      content: z
        .strictObject({
          keep: z
            .boolean()
            .default(false)
            .describe('Keep prompts and answers, outside the chain, so that they can be deleted.'),
          retention: duration()
            .default(30 * 86_400_000)
            .describe('How long.'),
          maxCharacters: z.int().min(1).default(100_000).describe('Most of each prompt and of each answer.'),
        })
        .prefault({})
        .describe('Prompts and answers. Off unless switched on.'),
    })
    .describe('The audit trail, in the ledger.'),
);

export type LedgerConfig = z.infer<ReturnType<typeof ledgerConfig>>;
export type AuditConfig = z.infer<ReturnType<typeof auditConfig>>;
