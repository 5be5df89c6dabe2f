/**
 * True for addresses that no user-supplied URL may reach: loopback, private, link-local (cloud metadata among them),
 * carrier NAT, multicast, reserved, and every IPv6 form that carries such an IPv4 address. Text that is no IP address
 * is not private: names are judged after resolution.
 */
export function isPrivateAddress(address: string): boolean {
  const text = address.replace(/^\[|\]$/g, '').split('%')[0] ?? '';
  const v4 = parseIpv4(text);
  if (v4) return isPrivateIpv4(v4);
  const v6 = parseIpv6(text);
  return v6 ? isPrivateIpv6(v6) : false;
}

/** Names that mean this machine or its surroundings whatever the resolver says. */
export function isPrivateName(name: string): boolean {
  return /(^|\.)(localhost|local|internal|localdomain|home\.arpa)\.?$/i.test(name) || !/[.:]/.test(name);
}

function isPrivateIpv4([a, b, c]: readonly number[]): boolean {
  if (a === undefined || b === undefined || c === undefined) return true;
  return (
    a === 0 || // this network
    a === 10 ||
    a === 127 ||
    (a === 100 && b >= 64 && b < 128) || // carrier NAT; 100.100.100.200 is a metadata address
    (a === 169 && b === 254) || // link-local; 169.254.169.254 is the metadata address of most clouds
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 0 && (c === 0 || c === 2)) ||
    (a === 192 && b === 88 && c === 99) ||
    (a === 192 && b === 168) ||
    (a === 198 && (b === 18 || b === 19)) || // benchmarking
    (a === 198 && b === 51 && c === 100) ||
    (a === 203 && b === 0 && c === 113) ||
    a >= 224 // multicast, reserved, broadcast
  );
}

function isPrivateIpv6(words: readonly number[]): boolean {
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0, w4 = 0, w5 = 0, w6 = 0, w7 = 0] = words;
  const tail = [w6 >> 8, w6 & 255, w7 >> 8, w7 & 255];
  const highZero = w0 === 0 && w1 === 0 && w2 === 0 && w3 === 0;
  if (highZero && w4 === 0 && w5 === 0) return true; // ::, ::1, and the old IPv4-compatible form
  if (highZero && ((w4 === 0 && w5 === 0xffff) || (w4 === 0xffff && w5 === 0))) return isPrivateIpv4(tail); // mapped
  if (w0 === 0x64 && w1 === 0xff9b) return isPrivateIpv4(tail) || w2 !== 0; // NAT64
  if (w0 === 0x2002) return isPrivateIpv4([w1 >> 8, w1 & 255, w2 >> 8, w2 & 255]); // 6to4
  if (w0 === 0x2001 && w1 === 0) return true; // Teredo
  if (w0 === 0x2001 && w1 === 0xdb8) return true; // documentation
  return (w0 & 0xe000) !== 0x2000; // all but global unicast: unique local, link-local, multicast, discard, …
}

function parseIpv4(text: string): number[] | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const bytes = match?.slice(1).map(Number);
  return bytes?.every((byte) => byte <= 255) ? bytes : undefined;
}

/** Eight 16-bit words, or undefined. The dotted tail of mapped addresses is understood. */
function parseIpv6(text: string): number[] | undefined {
  if (!text.includes(':')) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) {
    const v4 = parseIpv4(dotted[2] ?? '');
    if (!v4) return undefined;
    const [a = 0, b = 0, c = 0, d = 0] = v4;
    text = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return undefined;
  const words = (part: string) => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const missing = 8 - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 0) return undefined;
  const all = [...before, ...new Array<number>(missing).fill(0), ...after];
  return all.every((word) => word >= 0 && word <= 0xffff) ? all : undefined;
}
