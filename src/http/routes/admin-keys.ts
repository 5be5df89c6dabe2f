import { GatewayError } from '../../core/errors.ts';
import { parseDurationMs } from '../../core/units.ts';
import type { KeyAdmin } from '../../policy/key-admin.ts';
import { adminEndpoint } from '../admin.ts';
import { parseJsonObject, readBody } from '../body.ts';
import type { RouteEntry } from '../deps.ts';
import type { AppContext, HttpDeps } from '../env.ts';
import { idOf } from '../json.ts';

const maxBodyBytes = 64 * 1024;

/** Keys, for admins: list, make, rotate, revoke. A secret is in the answer that makes it and nowhere else. */
export function adminKeyRoutes(deps: HttpDeps, keys: KeyAdmin): readonly RouteEntry[] {
  const bodyOf = async (c: AppContext) => {
    const bytes = await readBody(c, maxBodyBytes);
    return bytes.length === 0 ? {} : parseJsonObject(bytes);
  };
  const secretHeaders = { 'cache-control': 'no-store' };

  return [
    [
      'GET',
      '/admin/keys',
      adminEndpoint(deps, async (_c, { json }) => json({ object: 'list', data: await keys.list() })),
    ],
    [
      'POST',
      '/admin/keys',
      adminEndpoint(deps, async (c, { json, context }) => {
        const { secret, key } = await keys.create(await bodyOf(c), context.caller.id);
        json({ ...key, key: secret }, 201, secretHeaders);
      }),
    ],
    [
      'POST',
      '/admin/keys/:id/rotate',
      adminEndpoint(deps, async (c, { json, context }) => {
        const { overlap = 0 } = await bodyOf(c);
        const overlapMs =
          typeof overlap === 'string' || typeof overlap === 'number' ? parseDurationMs(overlap) : undefined;
        if (overlapMs === undefined) {
          throw new GatewayError('invalid_request', "'overlap' is a duration: 24h.", { param: 'overlap' });
        }
        const { secret, key } = await keys.rotate(idOf(c), overlapMs, context.caller.id);
        json({ ...key, key: secret }, 200, secretHeaders);
      }),
    ],
    [
      'DELETE',
      '/admin/keys/:id',
      adminEndpoint(deps, async (c, { json, context }) => json(await keys.revoke(idOf(c), context.caller.id))),
    ],
  ];
}
