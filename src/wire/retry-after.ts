import { isJsonObject } from '../core/json.ts';

const dayMs = 24 * 3600 * 1000;

/**
 * When an upstream says that trying again makes sense, in milliseconds from now: `retry-after-ms`, `retry-after` (seconds
 * or a date), OpenAI's `x-ratelimit-reset-*`, Google's RetryInfo, or words. Nonsense and more than a day count as nothing.
 */
export function retryAfterMs(
  headers: Readonly<Record<string, string>>,
  body: unknown = undefined,
  wallMs: () => number = Date.now,
): number | undefined {
  const candidates = [
    number(headers['retry-after-ms']),
    seconds(headers['retry-after']),
    date(headers['retry-after'], wallMs),
    retryInfo(body),
    resetHeader(headers, 'requests'),
    resetHeader(headers, 'tokens'),
    words(body),
  ];
  return candidates.find((ms) => ms !== undefined && ms >= 0 && ms <= dayMs);
}

/** `1h2m3.5s`, `250ms`, `6m0s`: Go's durations, as OpenAI and Google write them. */
function parseDuration(text: string | undefined): number | undefined {
  if (!text || !/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(text)) return undefined;
  const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  let ms = 0;
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(h|ms|m|s)/g)) {
    ms += Number(amount) * (units[unit ?? ''] ?? 0);
  }
  return ms;
}

const number = (text: string | undefined) => (text && /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : undefined);
const seconds = (text: string | undefined) => {
  const value = number(text);
  return value === undefined ? undefined : value * 1000;
};
const date = (text: string | undefined, wallMs: () => number) => {
  if (!text || !/[a-z]/i.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - wallMs());
};

/** The reset time of a limit counts only where that limit is used up. */
function resetHeader(headers: Readonly<Record<string, string>>, what: string): number | undefined {
  return headers[`x-ratelimit-remaining-${what}`] === '0'
    ? parseDuration(headers[`x-ratelimit-reset-${what}`])
    : undefined;
}

function retryInfo(body: unknown): number | undefined {
  const error = isJsonObject(body) ? body['error'] : undefined;
  const details = isJsonObject(error) && Array.isArray(error['details']) ? error['details'] : [];
  for (const detail of details) {
    if (isJsonObject(detail) && typeof detail['retryDelay'] === 'string') return parseDuration(detail['retryDelay']);
  }
  return undefined;
}

function words(body: unknown): number | undefined {
  const error = isJsonObject(body) ? body['error'] : undefined;
  const message = isJsonObject(error) ? error['message'] : undefined;
  if (typeof message !== 'string') return undefined;
  return parseDuration(/try again in (\S+?)\.?(\s|$)/i.exec(message)?.[1]);
}
