import { connect, type Socket } from 'node:net';

export interface Exchange {
  readonly ok: boolean;
  /** From the request's first byte to the end of the answer. */
  readonly totalMs: number;
  /** To the first byte of the body. */
  readonly firstMs: number;
}

/** One keep-alive connection on a bare socket, one request at a time: as little of its own as possible. */
export function openConnection(port: number): {
  send(request: Buffer, onBody?: (nowMs: number) => void): Promise<Exchange>;
  close(): void;
} {
  let socket: Socket | undefined;
  const open = () => {
    const fresh = connect({ port, host: '127.0.0.1', noDelay: true });
    fresh.setMaxListeners(0);
    return fresh;
  };
  return {
    send(request, onBody) {
      if (!socket || socket.destroyed) socket = open();
      const using = socket;
      const startMs = performance.now();
      return new Promise((resolve) => {
        let firstMs = 0;
        let length = -1; // of the body; -1 while the head is not there, -2 for chunks
        let seen = 0;
        let status = 0;
        let head: Buffer = Buffer.alloc(0);
        let tail = '';
        const finish = (ok: boolean) => {
          using.off('data', onData);
          using.off('close', onClose);
          using.off('error', onClose);
          resolve({ ok: ok && status === 200, totalMs: performance.now() - startMs, firstMs });
        };
        const onClose = () => finish(false);
        const onData = (data: Buffer) => {
          let body = data;
          if (length === -1) {
            head = head.length === 0 ? data : Buffer.concat([head, data]);
            const end = head.indexOf('\r\n\r\n');
            if (end < 0) return;
            const text = head.toString('latin1', 0, end);
            status = Number(text.slice(9, 12));
            const declared = /content-length: *(\d+)/i.exec(text)?.[1];
            length = declared === undefined ? -2 : Number(declared);
            body = head.subarray(end + 4);
          }
          if (body.length === 0) return;
          const now = performance.now();
          if (seen === 0) firstMs = now - startMs;
          onBody?.(now);
          seen += body.length;
          if (length >= 0) {
            if (seen >= length) finish(true);
            return;
          }
          tail =
            body.length >= 7 ? body.toString('latin1', body.length - 7) : (tail + body.toString('latin1')).slice(-7);
          if (tail.endsWith('0\r\n\r\n') && (tail.length < 7 || tail.startsWith('\r\n'))) finish(true);
        };
        using.on('data', onData);
        using.on('close', onClose);
        using.on('error', onClose);
        using.write(request);
      });
    },
    close: () => socket?.destroy(),
  };
}
