import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A small valid beginning of a GGUF (version 3) with `bytes` bytes in all; `seed` makes it another file. */
export function ggufBytes(bytes: number, seed = 1): Buffer {
  const file = Buffer.alloc(bytes);
  let state = seed;
  for (let i = 0; i < bytes; i++) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    file[i] = state >> 16;
  }
  file.write('GGUF', 0, 'latin1');
  file.writeUInt32LE(3, 4);
  return file;
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

/** A real HTTP server on loopback that keeps what it was asked. */
export async function serve(handle: (request: Seen, response: ServerResponse, count: number) => void) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers };
    seen.push(one);
    handle(one, response, seen.length);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo; // listening on TCP
  return {
    seen,
    url: `http://127.0.0.1:${port}`,
    /** The same server under another host name. */
    otherUrl: `http://localhost:${port}`,
    close: () =>
      new Promise<void>((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}

/** Answers as a hub's file store does: ranges, a strong validator, `if-range`. */
export function sendFile({ headers }: Seen, response: ServerResponse, file: Buffer, breakAfter?: number): void {
  const etag = `"${sha256(file).slice(0, 16)}"`;
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? Number.NaN);
  const partial = Number.isInteger(from) && (headers['if-range'] ?? etag) === etag;
  if (partial && from >= file.length) {
    response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end();
    return;
  }
  const body = partial ? file.subarray(from) : file;
  response.writeHead(partial ? 206 : 200, {
    etag,
    'accept-ranges': 'bytes',
    'content-length': body.length,
    ...(partial ? { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` } : {}),
  });
  if (breakAfter === undefined) response.end(body);
  else response.write(body.subarray(0, breakAfter), () => setTimeout(() => response.destroy(), 20));
}
