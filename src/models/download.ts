import { open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { GatewayError } from '../core/errors.ts';
import { abortError, sleep } from '../core/signals.ts';
import { type Answer, type HttpOptions, openUrl } from './http.ts';
import { type Expected, isGgufHead } from './verify.ts';

export interface DownloadOptions extends HttpOptions {
  /** Host in words, for messages. */
  readonly source: string;
  readonly signal: AbortSignal;
  readonly expected: Expected;
  readonly onBytes: (received: number, total: number | undefined) => void;
}

/** What the server told about the file on the way: size, and the checksum that a hub sends. */
export interface Downloaded {
  readonly bytes: number;
  readonly expected: Expected;
}

const triesWithoutProgress = 4;
/** Before the second try; doubles with each that brought nothing. */
const backoffMs = 500;

/**
 * Fetches `url` into `part`, going on where an earlier try (also of an earlier process) stopped when the server allows
 * ranges and still has the same file. Throws GatewayError model_unavailable | cancelled; `part` stays for the next try.
 */
export async function download(url: string, part: string, options: DownloadOptions): Promise<Downloaded> {
  const { signal, source } = options;
  let begun = false;
  for (let failures = 0; ; ) {
    const before = await sizeOf(part);
    try {
      return await downloadOnce(url, part, before, options);
    } catch (error) {
      if (signal.aborted) throw abortError(signal);
      const gained = (await sizeOf(part)) > before;
      begun ||= gained;
      if (error instanceof GatewayError && !isPassing(error, begun)) throw error;
      failures = gained ? 0 : failures + 1;
      if (failures >= triesWithoutProgress || (error instanceof GatewayError && failures >= 2)) {
        const why = error instanceof Error ? error.message : String(error);
        throw new GatewayError('model_unavailable', `${source} broke off: ${why}`, { cause: error });
      }
      const wait = error instanceof GatewayError ? (error.retryAfterMs ?? 0) : 0;
      await sleep(Math.max(wait, backoffMs * 2 ** failures), signal);
    }
  }
}

async function downloadOnce(url: string, part: string, have: number, options: DownloadOptions): Promise<Downloaded> {
  const stamp = await readStamp(part);
  // Without a validator and without a checksum nobody would notice a file that changed in between.
  const resumable = have > 0 && (stamp !== undefined || options.expected.sha256 !== undefined);
  const answer = await openUrl(url, {
    ...options,
    headers: {
      ...options.headers,
      ...(resumable ? { range: `bytes=${have}-`, ...(stamp ? { 'if-range': stamp } : {}) } : {}),
    },
  });
  try {
    const start = startOf(answer, have);
    if (start === undefined) {
      await rm(part, { force: true });
      throw new GatewayError('upstream_failed', 'the kept part does not fit the file any more; starting over.');
    }
    refuseStatus(answer, options);
    await truncate(part, start).catch(() => {});
    const etag = answer.headers['etag'];
    if (etag && !etag.startsWith('W/')) await writeFile(stampPath(part), etag);
    else await rm(stampPath(part), { force: true });
    const length = Number(answer.headers['content-length'] ?? Number.NaN);
    const total = Number.isFinite(length) ? start + length : options.expected.bytes;
    const bytes = await writeBody(answer, part, start, total, options);
    if (total !== undefined && bytes < total) throw new Error(`${bytes} of ${total} bytes came`);
    return { bytes, expected: { ...answer.linked, ...defined(options.expected) } };
  } finally {
    answer.body.destroy();
  }
}

/** Where the answered bytes belong; undefined when what we have is of no use to the server. */
function startOf({ status, headers }: Answer, have: number): number | undefined {
  if (status === 416) return have > 0 ? undefined : 0;
  if (status !== 206) return 0;
  const from = Number(/^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1] ?? Number.NaN);
  return from === have ? have : undefined;
}

async function writeBody(
  answer: Answer,
  part: string,
  start: number,
  total: number | undefined,
  { onBytes, source }: DownloadOptions,
): Promise<number> {
  const file = await open(part, start > 0 ? 'r+' : 'w');
  let at = start;
  let head = new Uint8Array(0);
  try {
    onBytes(at, total);
    for await (const piece of answer.body as AsyncIterable<Uint8Array>) {
      if (start === 0 && head.length < 8) {
        head = new Uint8Array([...head, ...piece.subarray(0, 8 - head.length)]);
        // A login page or an error page: refuse it with its first bytes, not after a gigabyte.
        if (head.length >= 8 && !isGgufHead(head)) {
          throw new GatewayError('model_unavailable', `${source} answered with something that is not a GGUF file.`);
        }
      }
      await file.write(piece, 0, piece.length, at);
      at += piece.length;
      onBytes(at, total);
    }
  } finally {
    await file.close();
  }
  return at;
}

function refuseStatus({ status, headers, host }: Answer, { source, auth }: DownloadOptions): void {
  if (status === 200 || status === 206) return;
  if (status === 429 || status >= 500) {
    const after = Number(headers['retry-after'] ?? 0) * 1000;
    throw new GatewayError('upstream_failed', `${host} answered ${status}`, {
      retryAfterMs: Number.isFinite(after) ? Math.min(after, 10_000) : 0,
    });
  }
  const advice =
    status === 401 || status === 403
      ? auth
        ? 'the token in HF_TOKEN may not read this file: accept its licence on the hub, or use another token'
        : 'the file needs a login: set HF_TOKEN to a token that may read it'
      : status === 404
        ? 'there is no such file: check owner, repository and file name'
        : 'the file cannot be had there';
  throw new GatewayError('model_unavailable', `${source} answered ${status}: ${advice}.`);
}

/** A server that cannot be reached at all is left for the next source; one that was sending a moment ago may come back. */
const isPassing = ({ kind }: GatewayError, begun: boolean): boolean =>
  kind === 'upstream_failed' || (kind === 'upstream_unreachable' && begun);

const stampPath = (part: string) => `${part}.etag`;
const sizeOf = async (path: string): Promise<number> => (await stat(path).catch(() => undefined))?.size ?? 0;
const readStamp = async (part: string): Promise<string | undefined> =>
  (await readFile(stampPath(part), 'utf8').catch(() => '')) || undefined;
const defined = ({ bytes, sha256 }: Expected): Expected => ({
  ...(bytes === undefined ? {} : { bytes }),
  ...(sha256 === undefined ? {} : { sha256 }),
});

/** Removes what a download left behind. */
export async function discardPart(part: string): Promise<void> {
  await Promise.all([rm(part, { force: true }), rm(stampPath(part), { force: true })]);
}
