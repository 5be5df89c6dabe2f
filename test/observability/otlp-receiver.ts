import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One span as a collector reads it. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
  readonly statusCode: number;
  readonly resource: Readonly<Record<string, unknown>>;
}

/** A real OTLP/HTTP receiver on loopback: takes protobuf, and answers `status`. */
export async function otlpReceiver({ status = 200 }: { readonly status?: number } = {}) {
  const spans: ReceivedSpan[] = [];
  const headers: Record<string, unknown>[] = [];
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      headers.push(request.headers);
      if (request.url === '/v1/traces') spans.push(...readTraces(Buffer.concat(pieces)));
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    spans,
    headers,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`, // a TCP server's address
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

type Field = readonly [number: number, value: bigint | Buffer];

/** Protobuf's wire format: varints, 64-bit numbers and length-delimited values are all that OTLP uses. */
function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const type = key & 7;
    if (type === 0) fields.push([key >> 3, varint()]);
    else if (type === 1) {
      fields.push([key >> 3, bytes.readBigUInt64LE(at)]);
      at += 8;
    } else if (type === 2) {
      const length = Number(varint());
      fields.push([key >> 3, bytes.subarray(at, at + length)]);
      at += length;
    } else if (type === 5) {
      fields.push([key >> 3, BigInt(bytes.readUInt32LE(at))]);
      at += 4;
    } else throw new Error(`unknown wire type ${type}`);
  }
  return fields;
}

const all = (bytes: Buffer, number: number) =>
  fieldsOf(bytes).flatMap(([field, value]) => (field === number && Buffer.isBuffer(value) ? [value] : []));
const one = (bytes: Buffer, number: number) => all(bytes, number)[0] ?? Buffer.alloc(0);
const numberAt = (bytes: Buffer, number: number) => {
  const found = fieldsOf(bytes).find(([field]) => field === number)?.[1];
  return typeof found === 'bigint' ? found : 0n;
};

function readTraces(body: Buffer): ReceivedSpan[] {
  return all(body, 1).flatMap((resourceSpans) =>
    all(resourceSpans, 2).flatMap((scopeSpans) =>
      all(scopeSpans, 2).map((span) => ({
        traceId: one(span, 1).toString('hex'),
        spanId: one(span, 2).toString('hex'),
        parentSpanId: one(span, 4).toString('hex'),
        name: one(span, 5).toString(),
        kind: Number(numberAt(span, 6)),
        startMs: Number(numberAt(span, 7)) / 1e6,
        endMs: Number(numberAt(span, 8)) / 1e6,
        attributes: attributesOf(all(span, 9)),
        events: all(span, 11).map((event) => one(event, 2).toString()),
        statusCode: Number(numberAt(one(span, 15), 3)),
        resource: attributesOf(all(one(resourceSpans, 1), 1)),
      })),
    ),
  );
}

const attributesOf = (pairs: readonly Buffer[]) =>
  Object.fromEntries(pairs.map((pair) => [one(pair, 1).toString(), anyValue(one(pair, 2))]));

function anyValue(bytes: Buffer): unknown {
  const [field] = fieldsOf(bytes);
  if (!field) return '';
  const [number, value] = field;
  if (number === 5 && Buffer.isBuffer(value)) return all(value, 1).map(anyValue);
  if (Buffer.isBuffer(value)) return value.toString();
  if (number === 2) return value === 1n;
  if (number === 4) return Buffer.from(new BigUint64Array([value]).buffer).readDoubleLE();
  return Number(value);
}
