/** Response headers for a browser page of `origin`; none where it may not call. Never with credentials: keys travel in headers. */
export function corsHeaders(origin: string | undefined, allowed: readonly string[]): Readonly<Record<string, string>> {
  if (!origin || !mayCall(origin, allowed)) return {};
  return {
    'access-control-allow-origin': allowed.includes('*') ? '*' : origin,
    'access-control-expose-headers': '*', // holds where no cookies are sent, which we never allow
    vary: 'origin',
  };
}

/** The answer to a preflight: the headers asked for are allowed back, because `*` does not cover `authorization`. */
export function preflightHeaders(
  headers: Readonly<Record<string, string>>,
  allowed: readonly string[],
): Readonly<Record<string, string>> {
  const cors = corsHeaders(headers['origin'], allowed);
  if (!cors['access-control-allow-origin']) return {};
  const asked = headers['access-control-request-headers'];
  return {
    ...cors,
    vary: 'origin, access-control-request-headers',
    'access-control-allow-methods': 'GET, POST, DELETE, OPTIONS',
    'access-control-max-age': '600',
    ...(asked && /^[\w\-, ]{1,2000}$/.test(asked) && { 'access-control-allow-headers': asked }),
    ...(headers['access-control-request-private-network'] === 'true' && {
      'access-control-allow-private-network': 'true',
    }),
  };
}

function mayCall(origin: string, allowed: readonly string[]): boolean {
  return allowed.some((rule) => rule === '*' || rule === origin || (rule === 'loopback' && isLoopbackOrigin(origin)));
}

/**
 * Whether a request was made by a web page that may not call us. CORS only keeps such a page from reading the answer; a
 * plain POST is sent all the same, and on a gateway without keys it would be obeyed. Origins that are not of the web
 * (browser extensions, desktop apps) are software that somebody installed here.
 */
export function isForeignPage({ origin, host }: Readonly<Record<string, string>>, allowed: readonly string[]): boolean {
  if (origin === undefined || mayCall(origin, allowed)) return false;
  if (origin === 'null') return true; // a sandboxed frame, or a file
  const page = /^https?:\/\/(.+)$/.exec(origin)?.[1];
  return page !== undefined && page.toLowerCase() !== host?.toLowerCase();
}

const isLoopbackOrigin = (origin: string) => {
  const match = /^https?:\/\/(\[[^\]]+\]|[^:/]+)(:\d+)?$/.exec(origin);
  return match?.[1] !== undefined && isLoopbackHost(match[1]);
};

/** `localhost`, its subdomains, 127.0.0.0/8 and ::1, as they stand in a URL. */
export function isLoopbackHost(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    /^127\.\d+\.\d+\.\d+$/.test(host) ||
    host === '[::1]' ||
    host === '::1'
  );
}
