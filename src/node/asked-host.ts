import type { IncomingMessage } from 'node:http';

/** A name or an address, with a port or without one; it may be empty (RFC 9110, 7.2). */
const wholeHost = /^(?:\[[\w:.%~-]+\]|[\w.~%!$&'()*+,;=-]*)(?::\d*)?$/i;

export const isHost = (value: string): boolean => wholeHost.test(value);

/** The host of a target in absolute form, as for a proxy. */
const hostOfTarget = /^https?:\/\/([^/?#]*)/i;
const nameOf = (host: string): string => host.replace(/:\d*$/, '').toLowerCase();

/**
 * Whether a request names no host, what can be none, or two of them: node:http takes the first, and who stands before
 * it may have taken the other. All ask for a 400 (RFC 9112, 3.2). A target in absolute form names one too, and goes
 * before the header by the same text, while what checks hosts here reads the header.
 */
export function isHostUnclear({ httpVersion, rawHeaders, url = '' }: IncomingMessage): boolean {
  const targets = hostOfTarget.exec(url)?.[1];
  let hosts = 0;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue;
    const host = rawHeaders[at + 1] ?? '';
    if (++hosts > 1 || !isHost(host)) return true;
    if (targets !== undefined && nameOf(targets) !== nameOf(host)) return true;
  }
  return hosts === 0 && httpVersion === '1.1';
}
