import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Miniflare } from 'miniflare';
import { compatibility, workerModules } from './bundle.ts';

export interface EdgeOptions {
  readonly config: string;
  readonly bindings?: Readonly<Record<string, string>>;
  /** Workers of the same code, each an isolate of its own, over the same stores. */
  readonly isolates?: number;
  /** A worker whose default export makes what stands in for Workers AI. */
  readonly ai?: string;
}

export interface Edge {
  readonly mf: Miniflare;
  /** One address per isolate. */
  readonly urls: readonly URL[];
  /** What the workers logged, by line. */
  readonly logged: readonly string[];
  /** Stops workerd and starts it anew, over the same storage on disk. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** The built worker in workerd, with everything bound that wrangler.toml binds. */
export async function startEdge({ config, bindings = {}, isolates = 1, ai }: EdgeOptions): Promise<Edge> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-edge-'));
  const modules = await workerModules();
  const logged: string[] = [];
  const names = Array.from({ length: isolates }, (_, i) => `edge-${i}`);
  const objectOf = (className: string, i: number) => ({
    className,
    useSQLite: true,
    ...(i > 0 && { scriptName: 'edge-0' }), // the objects live with the first
  });
  const start = () =>
    new Miniflare({
      cf: false,
      defaultPersistRoot: folder,
      kvPersist: true,
      d1Persist: true,
      durableObjectsPersist: true,
      handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
        for (const stream of [stdout, stderr])
          stream.on('data', (data: Buffer) => logged.push(...String(data).split('\n')));
      },
      workers: [
        ...names.map((name, i) => ({
          name,
          modules: modules.map((module) => ({ ...module })),
          ...compatibility,
          compatibilityFlags: [...compatibility.compatibilityFlags],
          bindings: { TIDEGATE_CONFIG: config, ...bindings },
          kvNamespaces: { TIDEGATE_KV: 'kv' },
          d1Databases: { TIDEGATE_DB: 'db' },
          durableObjects: {
            TIDEGATE_STATE: objectOf('TidegateState', i),
            TIDEGATE_STREAMS: objectOf('TidegateStream', i),
          },
          ...(ai !== undefined && { wrappedBindings: { AI: { scriptName: 'ai' } } }),
          unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
        })),
        ...(ai === undefined
          ? []
          : [{ name: 'ai', modules: [{ type: 'ESModule' as const, path: 'ai.mjs', contents: ai }] }]),
      ],
    });
  let mf = start();
  let urls = await urlsOf(mf, names);
  return {
    get mf() {
      return mf;
    },
    get urls() {
      return urls;
    },
    logged,
    async restart() {
      await mf.dispose();
      mf = start();
      urls = await urlsOf(mf, names);
    },
    async close() {
      await mf.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function urlsOf(mf: Miniflare, names: readonly string[]): Promise<readonly URL[]> {
  await mf.ready;
  return Promise.all(names.map((name) => mf.unsafeGetDirectURL(name)));
}
