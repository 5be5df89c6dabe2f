import { type ErrorKind, GatewayError } from '../core/errors.ts';
import { isJsonObject } from '../core/json.ts';
import { retryAfterMs } from './retry-after.ts';

const maxMessageCharacters = 1000;

/** What an upstream said of an error, in whatever shape. */
interface Words {
  readonly message: string | undefined;
  readonly code: string | undefined;
  readonly type: string | undefined;
  readonly param: string | undefined;
}

/** An error object that came where an answer was due: in a stream, or as JSON with status 200. */
export function streamError(body: unknown): GatewayError {
  const { code, type, message } = wordsOf(body);
  const numeric = [code, type].map(Number).find((number) => number >= 400 && number < 600);
  return errorOf(numeric ?? statusOf(`${type ?? ''} ${code ?? ''}`, message), body, {}, []);
}

/** The HTTP status that would have said the same. */
function statusOf(hint: string, message: string | undefined): number {
  if (/rate_limit|resource_exhausted|throttl|insufficient_quota/i.test(hint)) return 429;
  if (/overloaded|unavailable/i.test(hint)) return 503;
  if (/authentication|permission|invalid_api_key/i.test(hint)) return 401;
  return isContextLength(hint, message) || /invalid_request/i.test(hint) ? 400 : 500;
}

/** An upstream's refusal with this HTTP status in our words; `secrets` are cut out of its own. */
export function errorOf(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>>,
  secrets: readonly string[],
): GatewayError {
  const words = wordsOf(body);
  const kind = kindOf(status, words);
  const retry = retryAfterMs(headers, body);
  const clientsFault = kind === 'upstream_rejected' || kind === 'context_length_exceeded' || kind === 'content_blocked';
  const said = words.message === undefined ? undefined : clean(words.message, secrets);
  const code = words.code && !/^\d+$/.test(words.code) ? clean(words.code, secrets) : undefined;
  const message = isWrongAddress(status, words) ? wrongAddress : sentence(kind, status, said);
  return new GatewayError(kind, message, {
    ...(retry === undefined ? {} : { retryAfterMs: retry }),
    ...(clientsFault && words.param ? { param: clean(words.param, secrets) } : {}),
    ...(kind === 'upstream_rejected' ? { status, code, type: 'invalid_request_error' } : {}),
    ...(kind === 'upstream_rate_limited' && code === 'insufficient_quota' ? { code, type: code } : {}),
  });
}

function kindOf(status: number, words: Words): ErrorKind {
  const hint = `${words.type ?? ''} ${words.code ?? ''}`;
  if (status === 401 || status === 402 || status === 403) return 'upstream_unauthorized';
  if (status === 408) return 'timeout';
  if (status === 429) return 'upstream_rate_limited';
  if (status >= 400 && status < 500) {
    if (isContextLength(hint, words.message)) return 'context_length_exceeded';
    return /content_filter|content_policy|responsible_ai/i.test(hint) ? 'content_blocked' : 'upstream_rejected';
  }
  return 'upstream_failed';
}

const isContextLength = (hint: string, message: string | undefined) =>
  /context_length_exceeded|exceed_context_size/i.test(hint) ||
  /maximum context length|context (length|window)|prompt is too long|too many (input )?tokens|exceeds? the (available )?context/i.test(
    message ?? '',
  );

const wrongAddress =
  'The upstream has nothing at this address (status 404). Is its baseUrl right, with /v1 where it wants that?';

/** A web server's own words, with no error object around them: an API would say that it lacks the model. */
const isWrongAddress = (status: number, { message, code, type }: Words) =>
  status === 404 &&
  code === undefined &&
  type === undefined &&
  (message === undefined || /^\s*(404[ :]*)?((page|file|path|route) )?not found\W*$|^cannot post /i.test(message));

function sentence(kind: ErrorKind, status: number, said: string | undefined): string {
  const words = said ? `: ${said}` : '.';
  switch (kind) {
    case 'upstream_rejected':
    case 'context_length_exceeded':
    case 'content_blocked':
      return said ?? `The upstream refused the request with status ${status}.`;
    case 'upstream_unauthorized':
      // The upstream's words may quote the key, and they are the operator's matter, not the caller's.
      return `The upstream refused the gateway’s credentials (status ${status}).`;
    case 'upstream_rate_limited':
      return `The upstream’s rate limit is reached${words}`;
    case 'timeout':
      return `The upstream gave up waiting (status ${status}).`;
    default:
      return status >= 300 && status < 400
        ? `The upstream answered with a redirect (status ${status}), which is never followed.`
        : `The upstream failed${status === 200 ? '' : ` with status ${status}`}${words}`;
  }
}

function wordsOf(body: unknown): Words {
  const outer = Array.isArray(body) ? body[0] : body;
  if (!isJsonObject(outer)) return { message: text(outer), code: undefined, type: undefined, param: undefined };
  const listed = Array.isArray(outer['errors']) ? outer['errors'][0] : undefined;
  const inner = outer['error'] ?? listed ?? outer;
  if (!isJsonObject(inner)) return { message: text(inner), code: undefined, type: undefined, param: undefined };
  return {
    message: text(inner['message']) ?? detailOf(inner['detail']) ?? text(inner['Message']) ?? text(outer['message']),
    code: text(inner['code']) ?? text(outer['code']),
    type: text(inner['type']) ?? text(inner['status']) ?? text(outer['__type']),
    param: text(inner['param']),
  };
}

/** FastAPI's validation errors. */
function detailOf(detail: unknown): string | undefined {
  if (!Array.isArray(detail)) return text(detail);
  return detail.flatMap((item) => (isJsonObject(item) ? (text(item['msg']) ?? []) : [])).join('; ') || undefined;
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined;

/** Without anything that looks like a key, and of bounded length. */
function clean(message: string, secrets: readonly string[]): string {
  for (const secret of secrets) if (secret.length >= 4) message = message.replaceAll(secret, '[key]');
  const safe = message
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, '$1 [key]')
    .replace(/\b(sk|pk|rk|gsk|xai|nvapi|hf|ghp|github_pat|AIza|csk|pplx|fw|r8)[-_]?[\w*-]{12,}/g, '[key]')
    .replace(/\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*/g, '[key]')
    .replace(/<[^>]{1,200}>/g, ' ');
  return safe.length > maxMessageCharacters ? `${safe.slice(0, maxMessageCharacters)}…` : safe;
}
