import { nowSeconds } from '../core/clock.ts';
import type { ObjectStore } from '../core/objects.ts';
import type { Quality } from '../observability/quality.ts';

const saveEveryMs = 60_000;
const place = { kind: 'quality', id: 'quality', owner: 'gateway' } as const;

/**
 * Lets the distributions of each version outlive a restart: read at the start, written each minute and at the end. Of
 * several gateways on one ledger the last writer's are kept.
 */
export async function keepQuality(
  quality: Quality,
  objects: ObjectStore,
  onError: (error: unknown) => void,
): Promise<{ close(): Promise<void> }> {
  quality.restore((await objects.get(place.kind, place.id, place.owner))?.body);
  let saved = JSON.stringify(quality.state());
  const save = async () => {
    const state = JSON.stringify(quality.state());
    if (state === saved) return;
    await objects.put({ ...place, createdAt: nowSeconds(), body: JSON.parse(state) });
    saved = state;
  };
  const timer = setInterval(() => save().catch(onError), saveEveryMs);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      await save().catch(onError);
    },
  };
}
