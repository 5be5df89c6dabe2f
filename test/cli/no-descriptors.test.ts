import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { chatJson, faultyUpstream } from '../faulty-upstream.ts';
import { tidegate } from './run-cli.ts';

/** Sends one chat; its status, and the text of the answer. */
async function chat(url: string): Promise<{ status: number; text: string; retryAfter: string | null }> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] }),
  });
  return { status: response.status, text: await response.text(), retryAfter: response.headers.get('retry-after') };
}

test.skipIf(process.platform !== 'linux')(
  'a gateway without file descriptors says so, blames no upstream, and answers again when it has some',
  { timeout: 30_000 },
  async () => {
    await using upstream = await faultyUpstream({ ...chatJson('hello'), beforeHead: [{ wait: 1500 }] });
    const folder = await mkdtemp(join(tmpdir(), 'tidegate-descriptors-'));
    const config = join(folder, 'tidegate.yaml');
    await writeFile(
      config,
      `providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }\nmodels: { m: { targets: [{ provider: up }] } }\n`,
    );
    let acted: Promise<void> | undefined;
    const act = async (url: string, pid: number) => {
      expect((await chat(url)).status).toBe(200);
      const open = (await readdir(`/proc/${pid}/fd`)).length;
      execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${open + 24}`]);
      const crowd = await Promise.all(Array.from({ length: 20 }, () => chat(url).catch(() => undefined)));
      const refused = crowd.filter((each) => each?.status === 429);
      expect(refused.length).toBeGreaterThan(5);
      for (const each of refused) {
        expect(each?.text).toContain('no room for another connection');
        expect(each?.retryAfter).toBe('1');
      }
      expect((await chat(url)).status).toBe(200);
    };
    try {
      const run = await tidegate(['serve', '--port', '0', '--config', config, '--no-pull'], {
        cwd: folder,
        env: { HOME: folder },
        onOutput: (text, child) => {
          const url = /serves (http:\/\/[\d.]+:\d+)\/v1/.exec(text)?.[1];
          if (!url || !child.pid || acted) return;
          acted = act(url, child.pid).finally(() => child.kill('SIGINT'));
          acted.catch(() => {}); // looked at when the gateway has ended
        },
      });
      await acted;
      expect(run.code).toBe(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
