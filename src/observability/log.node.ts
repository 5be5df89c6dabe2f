import { type DestinationStream, type Logger, pino } from 'pino';
import type { RecordSink } from '../core/record.ts';
import { lineLevel, recordFields } from './log.ts';

export interface LogOptions {
  readonly level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Readable lines instead of JSON: for people at a terminal. */
  readonly pretty?: boolean;
  readonly destination?: DestinationStream;
}

/** Whatever is logged, values under these names never are. */
const secretNames = ['authorization', 'apiKey', 'api_key', 'key', 'token', 'password', 'secret', 'cookie', 'x-api-key'];
const contentNames = ['messages', 'prompt_text', 'input', 'content', 'text', 'body'];

export interface Log {
  /** For everything but requests. Redacts by name, whatever it is given. */
  readonly log: Logger;
  /** Writes each request as one line; its fields are chosen one by one, so nothing needs to be looked for in it. */
  readonly record: RecordSink;
}

/** The process's log: JSON lines on standard output, or pretty ones. */
export async function createLog({ level = 'info', pretty = false, destination }: LogOptions = {}): Promise<Log> {
  const output = destination ?? pino.destination({ sync: false });
  const stream = pretty ? await prettyStream(output, destination === undefined) : output;
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const names = [...secretNames, ...contentNames].map((name) => (/^\w+$/.test(name) ? `.${name}` : `["${name}"]`));
  const paths = names.flatMap((name) => [name.replace(/^\./, ''), `*${name}`, `*.*${name}`]);
  const requests = pino(options, stream);
  return {
    log: pino({ ...options, redact: { paths, censor: '[redacted]' } }, stream),
    record(record) {
      const loudness = lineLevel(record);
      if (requests.isLevelEnabled(loudness)) requests[loudness](recordFields(record), 'request');
    },
  };
}

async function prettyStream(output: DestinationStream, colorize: boolean): Promise<DestinationStream> {
  const { prettyFactory } = await import('pino-pretty');
  const pretty = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss', singleLine: true });
  return { write: (line) => output.write(pretty(line) ?? '') };
}
