import { GatewayError } from '../core/errors.ts';
import type { ObjectStore } from '../core/objects.ts';
import type { BatchRunner } from '../http/batch-runner.ts';

/** D1 takes rows of at most 2 MB. */
const maxObjectBytes = 1_900_000;

const noBatchesHere = () =>
  new GatewayError(
    'unsupported',
    'Batches do not run at the edge, where nothing outlives a request for long; send them to a gateway on Node.',
  );

/** What the edge can keep; what it cannot is refused openly, before anything is written. */
export const edgeObjects = (objects: ObjectStore): ObjectStore => ({
  ...objects,
  put(object) {
    if (object.kind === 'batch') throw noBatchesHere();
    if (JSON.stringify(object.body).length + (object.bytes?.length ?? 0) > maxObjectBytes) {
      throw new GatewayError('payload_too_large', `At the edge at most ${maxObjectBytes} bytes are kept as one.`);
    }
    return objects.put(object);
  },
});

export const noBatches: BatchRunner = {
  run() {
    throw noBatchesHere();
  },
  cancel: () => Promise.reject(noBatchesHere()),
  resume: async () => {},
};
