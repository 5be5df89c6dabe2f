import { pipeline, type Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { GatewayError } from '../core/errors.ts';

/** A compressed answer may grow to this many bytes, and at most by this factor once it is past the first MiB. */
const maxBytes = 32 * 1024 * 1024;
const maxRatio = 100;
const ratioFreeBytes = 1024 * 1024;

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: () => createGunzip({ flush: constants.Z_SYNC_FLUSH }),
  'x-gzip': () => createGunzip({ flush: constants.Z_SYNC_FLUSH }),
  deflate: () => createInflate({ flush: constants.Z_SYNC_FLUSH }),
  br: () => createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
};

/**
 * The body with its `content-encoding` undone, chunk by chunk. Throws `upstream_failed` for an unknown or stacked
 * encoding, broken data, and for one that grows beyond all measure (a bomb), before it is held in memory.
 */
export function decompressed(
  body: AsyncIterableIterator<Uint8Array>,
  encoding: string | undefined,
): AsyncIterable<Uint8Array> {
  const name = encoding?.trim().toLowerCase() ?? 'identity';
  if (name === 'identity' || name === '') return body;
  const decoder = Object.hasOwn(decoders, name) ? decoders[name] : undefined;
  if (!decoder) {
    void body.return?.();
    throw new GatewayError('upstream_failed', 'The upstream compressed its answer in a way that was not asked for.');
  }
  return inflate(body, decoder());
}

async function* inflate(body: AsyncIterableIterator<Uint8Array>, decoder: Transform): AsyncGenerator<Uint8Array> {
  let compressedBytes = 0;
  let bytes = 0;
  const counted = async function* () {
    for await (const chunk of body) {
      compressedBytes += chunk.length;
      yield chunk;
    }
  };
  pipeline(counted, decoder, () => {}); // a failure destroys the decoder, and the loop below throws it
  try {
    for await (const chunk of decoder as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBytes || (bytes > ratioFreeBytes && bytes > compressedBytes * maxRatio)) {
        throw new GatewayError('upstream_failed', 'The upstream’s compressed answer grows beyond all measure.');
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('upstream_failed', 'The upstream’s compressed answer is broken.', { cause: error });
  } finally {
    decoder.destroy();
    await body.return?.();
  }
}
