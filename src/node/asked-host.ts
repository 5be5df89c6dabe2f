/** A name or an address, with a port or without one; it may be empty (RFC 9110, 7.2). */
const wholeHost = /^(?:\[[\w:.%~-]+\]|[\w.~%!$&'()*+,;=-]*)(?::\d*)?$/i;

export const isHost = (value: string): boolean => wholeHost.test(value);

/**
 * Whether a request names as its host what can be none, or two of them: node:http takes the first, and who stands before
 * it may have taken the other. Both ask for a 400 (RFC 9112, 3.2).
 */
export function isHostUnclear(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue;
    if (++hosts > 1 || !isHost(rawHeaders[at + 1] ?? '')) return true;
  }
  return false;
}
