import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'tidegate-image-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }; // our own file
const dockerfile = readFileSync('deploy/docker/Dockerfile', 'utf8');

/** A fresh checkout with its packages, as a build begins. */
function checkout(folder: string): void {
  const ignored = readFileSync('.dockerignore', 'utf8').split('\n').filter(Boolean);
  const tracked = spawnSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' }).stdout.split('\n');
  for (const file of tracked.filter((path) => path && !ignored.includes(path.split('/')[0] ?? ''))) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(file, join(folder, file));
  }
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules')); // npm ci
}

test('what npm packs of a fresh checkout runs elsewhere', () => {
  const [source, elsewhere] = [join(root, 'source'), join(root, 'elsewhere')];
  checkout(source);
  mkdirSync(elsewhere);
  const pack = ['pack', '--ignore-scripts=false', '--pack-destination', elsewhere];
  const packed = spawnSync('npm', pack, { cwd: source, encoding: 'utf8' });
  expect(packed.status, packed.stderr).toBe(0);
  spawnSync('tar', ['xzf', `tidegate-${version}.tgz`], { cwd: elsewhere });
  symlinkSync(resolve('node_modules'), join(elsewhere, 'node_modules'));
  const said = spawnSync('node', ['package/bin/tidegate.mjs', '--version'], { cwd: elsewhere, encoding: 'utf8' });
  expect(said).toMatchObject({ status: 0, stdout: `${version}\n` });
  const licences = readFileSync(join(elsewhere, 'package/dist/third-party-licences.txt'), 'utf8');
  for (const bundled of ['preact', 'hono', '@marcbachmann/cel-js', 'undici'])
    expect(licences).toMatch(new RegExp(`^${bundled} \\d\\S+ \\(\\S+\\)\\n\\n.*(licen|copyright)`, 'im'));
  rmSync(join(elsewhere, 'package', 'dist'), { recursive: true });
  const bare = spawnSync('node', ['package/bin/tidegate.mjs', '--version'], { cwd: elsewhere, encoding: 'utf8' });
  expect(bare).toMatchObject({ status: 1, stderr: expect.stringMatching(/packed without dist.*npm run build/) });
});

/** There is no container engine here: the recipe's own steps in folders, but for `npm ci` and the base image. */
test('what the container recipe copies and builds is enough to serve', async () => {
  const [build, image] = ['build', 'image'].map((name) => join(root, name)) as [string, string]; // two names in, two out
  checkout(build); // RUN npm ci --omit=dev
  expect(dockerfile).toContain('RUN npm run build');
  const built = spawnSync('npm', ['run', 'build'], { cwd: build, encoding: 'utf8' });
  expect(built.status, built.stderr).toBe(0);

  mkdirSync(image);
  const copies = [...dockerfile.matchAll(/^COPY --from=build \/app\/(\S+) (\S+)$/gm)];
  expect(copies.length).toBeGreaterThan(4);
  for (const [, from = '', to = ''] of copies) {
    if (from === 'node_modules') symlinkSync(resolve('node_modules'), join(image, to));
    else cpSync(join(build, from), to === './' ? join(image, from) : join(image, to), { recursive: true });
  }
  rmSync(build, { recursive: true });

  const config = join(root, 'tidegate.yaml');
  writeFileSync(
    config,
    'providers: { up: { type: openai-compatible, baseUrl: "http://127.0.0.1:9/v1" } }\nmodels: { m: { targets: [{ provider: up }] } }\nkeys: { fixed: [{ name: a, key: "tg-0123456789abcdef" }] }\n',
  );
  const [, entry = '[]'] = /^ENTRYPOINT (.*)$/m.exec(dockerfile) ?? [];
  const [, command = '[]'] = /^CMD (.*)$/m.exec(dockerfile) ?? [];
  const [program = '', ...args] = [...JSON.parse(entry), ...JSON.parse(command), '--port', '0'].map((arg: string) =>
    arg === '/config/tidegate.yaml' ? config : arg === '0.0.0.0' ? '127.0.0.1' : arg,
  );
  const gateway = spawn(program, args, {
    cwd: image,
    env: { ...process.env, NODE_ENV: 'production', TIDEGATE_CACHE: root },
  });
  try {
    let output = '';
    const url = await new Promise<string>((resolve, reject) => {
      const read = (data: Buffer) => {
        output += data;
        const port = /http:\/\/[\w.]+:(\d+)/.exec(output)?.[1];
        if (port) resolve(`http://127.0.0.1:${port}`);
      };
      gateway.stdout.on('data', read);
      gateway.stderr.on('data', read);
      gateway.once('exit', () => reject(new Error(output)));
    });
    // As HEALTHCHECK asks, at the port it has here.
    const [, health = ''] = /HEALTHCHECK .*node -e "(.*)"$/m.exec(dockerfile) ?? [];
    expect(health).toContain('/health/ready');
    const checked = spawnSync(process.execPath, ['-e', health.replace('http://127.0.0.1:8787', url)]);
    expect(checked.status).toBe(0);
    const models = await fetch(`${url}/v1/models`, { headers: { authorization: 'Bearer tg-0123456789abcdef' } });
    expect(await models.json()).toMatchObject({ data: [{ id: 'm' }] });
  } finally {
    gateway.kill();
  }
}, 120_000);
