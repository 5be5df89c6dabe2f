import * as z from 'zod';
import { once } from './core/once.ts';
import { parseBytes, parseDurationMs } from './core/units.ts';

/** `10m`, `4s`, or milliseconds. */
export const duration = once(() =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const ms = parseDurationMs(value);
      if (ms === undefined)
        context.addIssue({ code: 'custom', message: `'${value}' is no duration; write 500ms, 30s, 10m, 2h or 7d` });
      return ms ?? 0;
    })
    .meta({ title: 'duration', description: 'A duration: 500ms, 30s, 10m, 2h, 7d, or milliseconds as a number.' }),
);

/** `1GiB`, `500MB`, or bytes. */
export const bytes = once(() =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const size = parseBytes(value);
      if (size === undefined)
        context.addIssue({ code: 'custom', message: `'${value}' is no size; write 64KiB, 500MB or 1GiB` });
      return size ?? 0;
    })
    .meta({ title: 'size', description: 'A size: 64KiB, 500MB, 1GiB, or bytes as a number.' }),
);
