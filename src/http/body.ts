import { bodyDigest, equalDigests } from '../core/digest.ts';
import { GatewayError } from '../core/errors.ts';
import { bodyDigestHeader } from '../core/gateway-token.ts';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import { concatBytes } from '../core/streams.ts';
import { deploymentOf } from './deployment.ts';
import { type AppContext, headersOf, type NodeRequest } from './env.ts';

/** Deeper JSON is refused before it is parsed: nothing a client means is nested like that. */
const maxDepth = 128;
/** More objects and lists than this are no request either, and would keep the validator busy for seconds. */
const maxContainers = 100_000;
/** So with fields, which cost more the more of them are in one object. */
const maxFields = 100_000;

/**
 * The body, at most `maxBytes` of it; throws payload_too_large as soon as more is announced or has come. Where a digest
 * of it was announced (and signed: see core/gateway-token.ts), another body is unauthorized.
 */
export function readBody(c: AppContext, maxBytes: number): Promise<Uint8Array> {
  const announced = headersOf(c)[bodyDigestHeader];
  const reading = readBytes(c, maxBytes);
  const body = announced === undefined ? reading : announcedBody(reading, announced);
  const deployment = deploymentOf(c);
  return deployment === undefined ? body : body.then((bytes) => bodyFor(deployment, bytes));
}

/** A JSON body with the model that its path names; a form brings its own. */
function bodyFor(model: string, bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0 || bytes[0] === '-'.charCodeAt(0)) return bytes;
  const body = parseJsonObject(bytes);
  return body['model'] === model ? bytes : new TextEncoder().encode(JSON.stringify({ ...body, model }));
}

async function announcedBody(reading: Promise<Uint8Array>, announced: string): Promise<Uint8Array> {
  const bytes = await reading;
  if (!equalDigests(announced, await bodyDigest(bytes))) {
    throw new GatewayError('unauthorized', `The body is not the one that '${bodyDigestHeader}' announces.`);
  }
  return bytes;
}

function readBytes(c: AppContext, maxBytes: number): Promise<Uint8Array> {
  const headers = headersOf(c);
  const tooLarge = () =>
    new GatewayError('payload_too_large', `The request body is larger than ${maxBytes} bytes.`, {
      code: 'request_too_large',
    });
  if (Number(headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge());
  const encoding = headers['content-encoding']?.toLowerCase() || 'identity';
  return encoding === 'identity' ? readPlain(c, maxBytes, tooLarge) : readEncoded(c, encoding, maxBytes, tooLarge);
}

async function readEncoded(
  c: AppContext,
  encoding: string,
  maxBytes: number,
  tooLarge: () => GatewayError,
): Promise<Uint8Array> {
  const format = encoding === 'x-gzip' ? 'gzip' : encoding;
  if (format !== 'gzip' && format !== 'deflate') {
    throw new GatewayError('unsupported_media_type', 'Send the body with content-encoding gzip, deflate or none.', {
      headers: { 'accept-encoding': 'gzip, deflate, identity' },
    });
  }
  return inflate(await readPlain(c, maxBytes, tooLarge), format, maxBytes, tooLarge);
}

/** What a compressed body holds; a few bytes may hold gigabytes, so it is cut off at the limit too. */
async function inflate(
  bytes: Uint8Array,
  format: 'gzip' | 'deflate',
  maxBytes: number,
  tooLarge: () => GatewayError,
): Promise<Uint8Array> {
  const reader = new Blob([new Uint8Array(bytes)]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
      length += value.length;
      if (length > maxBytes) throw tooLarge();
      pieces.push(value);
    }
  } catch (error) {
    void reader.cancel().catch(() => {});
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('invalid_request', `The request body is not valid ${format}.`, { code: 'invalid_encoding' });
  }
  return concatBytes(pieces);
}

function readPlain(c: AppContext, maxBytes: number, tooLarge: () => GatewayError): Promise<Uint8Array> {
  const incoming = c.env?.incoming;
  if (incoming?.body) {
    return incoming.body.length > maxBytes ? Promise.reject(tooLarge()) : Promise.resolve(incoming.body);
  }
  return incoming ? readIncoming(incoming, maxBytes, tooLarge) : readPulled(c.req.raw.body, maxBytes, tooLarge);
}

async function readPulled(
  source: AsyncIterable<Uint8Array> | null,
  maxBytes: number,
  tooLarge: () => GatewayError,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const piece of source ?? []) {
      length += piece.length;
      if (length > maxBytes) throw tooLarge();
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw brokenOff(error);
  }
  return concatBytes(pieces);
}

const brokenOff = (cause?: unknown) => new GatewayError('cancelled', 'The request body broke off.', { cause });

/**
 * A body that came in one packet with its head is there when the turn that told of the head is over: it is taken as it
 * lies, since listening to a stream for one piece costs more than decoding it.
 */
async function readIncoming(
  incoming: NodeRequest,
  maxBytes: number,
  tooLarge: () => GatewayError,
): Promise<Uint8Array> {
  await undefined;
  const announced = Number(incoming.headers['content-length'] ?? Number.NaN);
  const isThere = announced > 0 && announced <= maxBytes && incoming.readableLength === announced;
  return (isThere && incoming.read?.()) || readByEvents(incoming, maxBytes, tooLarge);
}

/** Node's async iterator would cost more than the rest of the way in. */
function readByEvents(incoming: NodeRequest, maxBytes: number, tooLarge: () => GatewayError): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    let length = 0;
    let whole = false;
    incoming.on?.('data', (piece) => {
      length += piece.length;
      if (length > maxBytes) reject(tooLarge());
      else pieces.push(piece);
    });
    incoming.on?.('end', () => {
      whole = true;
      resolve(concatBytes(pieces));
    });
    incoming.on?.('error', (error) => reject(brokenOff(error)));
    incoming.on?.('close', () => {
      if (!whole) reject(brokenOff()); // each request closes: an error that nobody reads costs its stack
    });
  });
}

/** The body as a JSON object. Throws invalid_request where it is not one, or nested too deeply. */
export function parseJsonObject(bytes: Uint8Array): JsonObject {
  if (bytes.length === 0) {
    throw new GatewayError('invalid_request', 'The request has no body; send a JSON object.', { code: 'missing_body' });
  }
  checkDepth(bytes);
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    const detail = error instanceof SyntaxError ? positionOf(error.message) : 'it is not UTF-8';
    throw new GatewayError('invalid_request', `The request body is not valid JSON: ${detail}.`, {
      code: 'invalid_json',
    });
  }
  if (!isJsonObject(value)) {
    throw new GatewayError('invalid_request', 'The request body must be a JSON object.', { code: 'invalid_type' });
  }
  return value as JsonObject; // JSON.parse makes nothing else
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** V8 quotes the text around the error; only the position is kept, a prompt must not get into errors. */
function positionOf(message: string): string {
  const position = /position (\d+)/.exec(message);
  if (position) return `unexpected text at position ${position[1]}`;
  return message.startsWith('Unexpected end') ? 'unexpected end of text' : 'unexpected text';
}

function checkDepth(bytes: Uint8Array): void {
  let depth = 0;
  let containers = 0;
  let fields = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x22) i = endOfString(bytes, i + 1);
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) {
        throw new GatewayError('invalid_request', `The request body is nested deeper than ${maxDepth} levels.`, {
          code: 'invalid_json',
        });
      }
      if (++containers > maxContainers) throw tooMany(maxContainers, 'objects and lists');
    } else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte === 0x3a && ++fields > maxFields) throw tooMany(maxFields, 'fields');
  }
}

/** Where the quote is that ends a string begun before `from`; the length where none does. Long texts are leapt over. */
function endOfString(bytes: Uint8Array, from: number): number {
  for (let i = from; i < bytes.length; ) {
    for (const near = i + 8; i < near; i++) {
      const byte = bytes[i];
      if (byte === 0x22) return i;
      if (byte === 0x5c) i++;
    }
    const quote = bytes.indexOf(0x22, i);
    if (quote < 0) break;
    let slashes = quote;
    while (slashes > i && bytes[slashes - 1] === 0x5c) slashes--;
    if ((quote - slashes) % 2 === 0) return quote;
    i = quote + 1;
  }
  return bytes.length;
}

const tooMany = (most: number, what: string) =>
  new GatewayError('invalid_request', `The request body has more than ${most} ${what}.`, { code: 'invalid_json' });
