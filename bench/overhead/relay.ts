import { createServer } from 'node:http';
import { Agent } from 'undici';

/**
 * The floor: node:http in front, undici's `dispatch` behind, bytes copied through, nothing looked at. What a gateway in
 * one Node process cannot beat.
 */
export function startRelay(upstreamPort: number, port = 0): Promise<number> {
  const agent = new Agent({ pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  const origin = `http://127.0.0.1:${upstreamPort}`;
  const server = createServer({ noDelay: true }, (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      let controller: { abort(reason: Error): void } | undefined;
      response.on('close', () => {
        if (!response.writableFinished) controller?.abort(new Error('gone'));
      });
      agent.dispatch(
        {
          origin,
          path: request.url ?? '/',
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: 'Bearer x' },
          body: pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces),
        },
        {
          onRequestStart(started) {
            controller = started;
          },
          onResponseStart(_, status, headers) {
            const length = headers['content-length'];
            response.writeHead(status, {
              'content-type': String(headers['content-type']),
              ...(length === undefined ? {} : { 'content-length': String(length) }),
            });
          },
          onResponseData(started, chunk) {
            if (response.write(chunk)) return;
            started.pause();
            response.once('drain', () => started.resume());
          },
          onResponseEnd: () => void response.end(),
          onResponseError: () => void response.destroy(),
        },
      );
    });
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}
