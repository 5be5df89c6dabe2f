import { expect, test } from 'vitest';
import { readHead } from '../../src/transport/http1/answer-head.ts';

test.each([
  { version: '1.1', connection: ['close', 'keep-alive'], keepsAlive: false },
  { version: '1.1', connection: ['keep-alive', 'close'], keepsAlive: false },
  { version: '1.1', connection: ['close, keep-alive'], keepsAlive: false },
  { version: '1.1', connection: ['x'], keepsAlive: true },
  { version: '1.0', connection: ['keep-alive', 'close'], keepsAlive: false },
  { version: '1.0', connection: ['x', 'Keep-Alive'], keepsAlive: true },
  { version: '1.0', connection: [], keepsAlive: false },
])('HTTP/$version with connection $connection keeps it: $keepsAlive', ({ version, connection, keepsAlive }) => {
  const lines = connection.map((value) => `\r\nConnection: ${value}`);
  expect(readHead(`HTTP/${version} 200 OK${lines.join('')}`).keepsAlive).toBe(keepsAlive);
});
