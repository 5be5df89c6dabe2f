import http from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';
import { platformSignal } from '../core/abort.ts';
import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import type { ModelSettings } from './settings.ts';
import type { Expected } from './verify.ts';

export interface HttpOptions {
  readonly settings: ModelSettings;
  readonly signal: AbortSignal;
  /** `Authorization` for the first host only. */
  readonly auth?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly host: string;
  readonly body: Readable;
  /** Size and sha256 of the file as the hub's first answer names them. */
  readonly linked: Expected;
}

const maxRedirects = 10;

/**
 * GET that follows redirects itself: the token goes to the host it was meant for and to no other, and never from https to
 * http. Node's own client, because undici 7 dies of an assertion when a slow reader's peer closes (nodejs/undici#5360).
 * Throws upstream_unreachable (no answer), model_unavailable (bad redirect), cancelled.
 */
export async function openUrl(address: string, options: HttpOptions): Promise<Answer> {
  let { url, auth } = withoutCredentials(address, options.auth);
  let linked: Expected = {};
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await get(url, auth, options).catch((cause: unknown) => {
      if (options.signal.aborted) throw abortError(options.signal);
      throw new GatewayError('upstream_unreachable', `${url.host} cannot be reached (${reason(cause)})`, { cause });
    });
    const headers = flat(response.headers);
    linked = { ...linkedFile(headers), ...linked };
    const { statusCode: status = 0 } = response;
    const location = headers['location'];
    if (status < 300 || status >= 400 || !location) {
      return { status, headers, host: url.host, body: response, linked };
    }
    response.destroy();
    const next = new URL(location, url);
    if (!/^https?:$/.test(next.protocol) || (url.protocol === 'https:' && next.protocol !== 'https:')) {
      throw new GatewayError('model_unavailable', `${url.host} redirects to ${next.protocol}//: refused.`);
    }
    if (next.origin !== url.origin) auth = undefined;
    url = next;
  }
  throw new GatewayError('model_unavailable', `${url.host} redirects more than ${maxRedirects} times.`);
}

function get(url: URL, auth: string | undefined, options: HttpOptions): Promise<http.IncomingMessage> {
  const { settings, signal, headers } = options;
  const { request, Agent } = url.protocol === 'https:' ? https : http;
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      // `proxyEnv` is newer than our oldest Node: there it is ignored, and so is the proxy.
      agent: new Agent({ keepAlive: false, proxyEnv: settings.proxyEnv } as https.AgentOptions),
      signal: platformSignal(signal),
      headers: {
        'user-agent': 'tidegate',
        'accept-encoding': 'identity', // ranges and checksums are of the file itself
        ...headers,
        ...(auth ? { authorization: auth } : {}),
      },
    });
    // One clock for name look-up, connect and TLS; from then on the socket's own, restarted by every byte.
    const connect = setTimeout(() => sent.destroy(new Error('no answer in time')), settings.connectTimeoutMs);
    sent.on('socket', (socket) => {
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        clearTimeout(connect);
        sent.setTimeout(settings.stallTimeoutMs, () => sent.destroy(new Error('it fell silent')));
      });
    });
    sent.on('response', (response) => {
      response.on('error', () => {}); // who reads it sees the error; who has turned away need not
      resolve(response);
    });
    sent.on('error', reject);
    sent.on('close', () => clearTimeout(connect));
    sent.end();
  });
}

function withoutCredentials(address: string, auth: string | undefined): { url: URL; auth: string | undefined } {
  const url = new URL(address);
  if (!url.username) return { url, auth };
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  return { url, auth: auth ?? `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** The hub names size and sha256 of a large file beside its redirect. */
function linkedFile(headers: Readonly<Record<string, string>>): Expected {
  const sha256 = /^"?([0-9a-f]{64})"?$/.exec(headers['x-linked-etag'] ?? '')?.[1];
  const bytes = Number(headers['x-linked-size'] ?? Number.NaN);
  return { ...(sha256 ? { sha256 } : {}), ...(Number.isInteger(bytes) ? { bytes } : {}) };
}

const flat = (headers: Record<string, string | string[] | undefined>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name.toLowerCase(),
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  );

function reason(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its name is not known here';
  return typeof code === 'string' ? code : error instanceof Error ? error.message : String(error);
}
