import { type IncomingMessage, request } from 'node:http';

/**
 * A POST whose client can leave so that workerd hears of it at once: by RST. A mere FIN it takes for a client that still
 * reads, until its next write; Cloudflare's network tells Workers either way.
 */
export function leavable(
  url: URL,
  body: string,
  signal?: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const all = { 'content-type': 'application/json', ...headers };
    const asking = request(url, { method: 'POST', headers: all, agent: false }, resolve);
    asking.on('error', reject);
    signal?.addEventListener('abort', () => asking.socket?.resetAndDestroy());
    asking.end(body);
  });
}
