import { openConnection } from './client.ts';
import type { Target } from './targets.ts';

/** A chat of two messages. The mock answers as the model's name says. */
export const body = (model: string, stream: boolean) =>
  JSON.stringify({
    model,
    ...(stream ? { stream: true } : {}),
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: 'Tell me about the tide. '.repeat(10) },
    ],
  });

function requestOf(target: Target, text: string): Buffer {
  const headers = Object.entries(target.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${target.port}\r\ncontent-type: application/json\r\n${headers.join('')}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

/** So many connections, each sending its next request when the last is answered. */
export async function closedLoop(target: Target, text: string, connections: number, ms: number) {
  const request = requestOf(target, text);
  const start = performance.now();
  let done = 0;
  let failed = 0;
  const worker = async () => {
    const connection = openConnection(target.port);
    while (performance.now() - start < ms) {
      if ((await connection.send(request)).ok) done++;
      else if (++failed > 50) break;
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, worker));
  return { done, failed, perSecond: (done * 1000) / (performance.now() - start) };
}

/** A nap of less than a timer's millisecond; what arrives meanwhile is seen that much later. */
const napMs = 0.1;
const never = new Int32Array(new SharedArrayBuffer(4));
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * So many requests a second whatever the answers take, each at its own moment: requests sent in bursts, as a timer would,
 * wait for one another in whatever is measured. Times count from the due moment. It naps between: spinning takes a whole
 * core from what is measured.
 */
export async function openLoop(target: Target, text: string, rate: number, ms: number) {
  const request = requestOf(target, text);
  const free = Array.from({ length: 64 }, () => openConnection(target.port));
  const all = new Set(free);
  const running: Promise<void>[] = [];
  const totals: number[] = [];
  const firsts: number[] = [];
  let failed = 0;
  const start = performance.now();
  const dueMs = (index: number) => (index / rate) * 1000;
  const send = async (lateMs: number) => {
    const connection = free.pop() ?? openConnection(target.port);
    all.add(connection);
    const exchange = await connection.send(request);
    free.push(connection);
    if (!exchange.ok) failed++;
    else {
      totals.push(exchange.totalMs + lateMs);
      firsts.push(exchange.firstMs + lateMs);
    }
  };
  for (let sent = 0, elapsedMs = 0; elapsedMs < ms; elapsedMs = performance.now() - start) {
    for (; dueMs(sent) <= elapsedMs; sent++) running.push(send(elapsedMs - dueMs(sent)));
    await nextTurn();
    const left = dueMs(sent) - (performance.now() - start);
    if (left > 0) Atomics.wait(never, 0, 0, Math.min(left, napMs));
    await nextTurn();
  }
  await Promise.all(running);
  for (const connection of all) connection.close();
  return { totals, firsts, failed };
}

/** Streams of 40 events, one every 50 ms: how late does each arrive, measured from the stream's own beat? */
export async function paced(target: Target, streams: number) {
  const request = requestOf(target, body('paced-40-50', true));
  const lags: number[] = [];
  let failed = 0;
  const one = async (index: number) => {
    await new Promise((resolve) => setTimeout(resolve, (index * 1000) / streams));
    const connection = openConnection(target.port);
    const arrivals: number[] = [];
    const { ok } = await connection.send(request, (now) => arrivals.push(now));
    connection.close();
    if (!ok) failed++;
    for (let at = 1; at < arrivals.length; at++) {
      lags.push(Math.max(0, (arrivals[at] ?? 0) - (arrivals[at - 1] ?? 0) - 50));
    }
  };
  await Promise.all(Array.from({ length: streams }, (_, index) => one(index)));
  return { lags, failed };
}
