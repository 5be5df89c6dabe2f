import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorBody } from '../wire/openai/errors.ts';

/** The request of a connection that was taken last, and its answer. */
export interface Taken {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

interface ParserError extends Error {
  readonly code?: string;
  /** What the parser minds, in its own words. */
  readonly reason?: string;
}

/** How long a refused client may go on sending: hung up on at once, it would lose the refusal that it has not read yet. */
const lingerMs = 500;

/** Says no before any route is found; the connection ends with it. */
export function refuse(outgoing: ServerResponse, status: number, message: string): void {
  const body = bodyOf(status, message);
  outgoing.writeHead(status, { connection: 'close', 'content-type': 'application/json' }).end(body);
}

/** Answers CONNECT, unless what is written now could be taken for the answer to a request before it. */
export function refuseTunnel(socket: Socket, isLate: boolean): void {
  socket.on('error', () => undefined); // node:http listens no more
  if (isLate) socket.destroy();
  else {
    socket.write(answerOf(501, 'This gateway is no proxy for other addresses.'));
    socket.destroySoon();
  }
}

/**
 * What node:http cannot read, or not in time, is answered with a body that says so; it would send a status alone. Nothing
 * is written where it could be taken for a part of another answer, or for the answer to a request that was whole.
 */
export function refuseUnreadable(server: Server, takenOf: (socket: Socket) => Taken | undefined): void {
  server.on('clientError', (error: ParserError, socket: Socket) => {
    if (socket.writableEnded) return; // it goes on sending after a refusal
    const taken = takenOf(socket);
    const isFree = !taken || taken.outgoing.writableFinished;
    const isItsBody = taken && !taken.outgoing.headersSent && !taken.incoming.complete;
    if (!socket.writable || !(isFree || isItsBody)) {
      socket.destroy();
      return;
    }
    const { status, message } = refusalOf(error);
    if (isFree) linger(socket, answerOf(status, message));
    else {
      socket.write(answerOf(status, message));
      socket.destroySoon();
    }
  });
  server.on('checkExpectation', (_, outgoing) => {
    refuse(outgoing, 417, "The only expectation that can be met is 'expect: 100-continue'.");
  });
}

function linger(socket: Socket, text: string): void {
  socket.end(text);
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

function refusalOf({ code, reason }: ParserError): { status: number; message: string } {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, message: 'The head of the request is too large.' };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return { status: 413, message: 'The extensions of a chunk of the body are too large.' };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, message: 'The request did not come to its end in time.' };
    default:
      return { status: 400, message: `This is no HTTP/1.1 request${reason ? ` (${reason})` : ''}.` };
  }
}

const answerOf = (status: number, message: string): string => {
  const body = bodyOf(status, message);
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\n`;
  return `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
};

const codes: Readonly<Record<number, string>> = {
  408: 'request_timeout',
  413: 'request_too_large',
  431: 'headers_too_large',
  501: 'not_implemented',
};

/** No path is known, so neither is the client's dialect: OpenAI's. */
function bodyOf(status: number, message: string): string {
  const body: ErrorBody = {
    error: { message, type: 'invalid_request_error', param: null, code: codes[status] ?? 'invalid_http' },
  };
  return JSON.stringify(body);
}
