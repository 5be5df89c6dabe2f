import { createReadStream, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway } from '../../src/node.ts';
import { modelPath } from '../engine/model.ts';
import { chromiumPath, launch, openPage } from './browser.ts';
import { buildDashboard } from './build.ts';

/** An OpenAI-compatible upstream that says one thing. */
async function startUpstream(): Promise<{ server: Server; url: string }> {
  const chunk = (choices: object[], more: object = {}) =>
    `data: ${JSON.stringify({ id: 'up-1', object: 'chat.completion.chunk', created: 1, model: 'm', choices, ...more })}\n\n`;
  const body = [
    chunk([{ index: 0, delta: { role: 'assistant', content: 'High at noon.' }, finish_reason: null }]),
    chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]),
    chunk([], { usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 } }),
    'data: [DONE]\n\n',
  ].join('');
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` }; // a TCP server's address
}

const file = chromiumPath ? await modelPath() : null;

describe.skipIf(!chromiumPath)('the dashboard of the real gateway', { timeout: 120_000 }, () => {
  let browser: Browser;
  let upstream: Awaited<ReturnType<typeof startUpstream>>;
  let gateway: Awaited<ReturnType<typeof startGateway>>;

  beforeAll(async () => {
    await buildDashboard(join(import.meta.dirname, '../../dist/ui'));
    upstream = await startUpstream();
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-dashboard-'));
    const configFile = join(folder, 'tidegate.yaml');
    writeFileSync(
      configFile,
      `server: { port: 0 }
ledger: { url: "file:${join(folder, 'ledger.db')}" }
providers: { up: { type: openai-compatible, baseUrl: "${upstream.url}", apiKey: sk-hidden } }
models: { tide: { targets: [{ provider: up, model: m }], filters: [secrets] } }
filters: { secrets: { kind: patterns, preset: secrets, action: mask } }
`,
    );
    gateway = await startGateway({ configFile, env: {}, log: { level: 'silent' } });
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await gateway?.close();
    upstream?.server.closeAllConnections();
    upstream?.server.close();
  });

  test('chats through it, follows the request, sees its settings without secrets, and locks it with the first key', async () => {
    const { page, troubles } = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    await page.waitForSelector('h1');
    await page.fill('[data-main-field]', 'When is the tide high?');
    await page.press('[data-main-field]', 'Enter');
    await page.click('text=How it came about');
    await page.waitForSelector('.timeline');
    expect(await page.innerText('.timeline')).toMatch(/admission[\s\S]*up\/m[\s\S]*writing/);
    expect(await page.innerText('[aria-label=Facts]')).toMatch(/Prompt tokens\s+9/);
    await page.click('text=Yes');

    await page.goto(`${gateway.url}/#/filters`);
    await page.fill('[data-main-field]', 'My key is sk-abcdefghijklmnopqrstuvwxyz123456.');
    await page.click('button:text-is("Try")');
    await page.waitForSelector('[aria-label=Result]');
    expect(await page.innerText('[aria-label=Result]')).not.toContain('sk-abcdef');

    await page.goto(`${gateway.url}/#/settings`);
    await page.waitForSelector('tbody tr');
    expect(await page.innerText('main')).toMatch(/models\.tide[\s\S]*file/);
    expect(await page.inputValue('[aria-label=Configuration]')).not.toContain('sk-hidden');
    expect(await page.innerText('main')).not.toContain('sk-hidden');
    await page.fill('[aria-label=Configuration]', 'server: { prot: 1 }');
    await page.click('text=Check');
    expect(await page.innerText('.notice.bad')).toMatch(/server\.prot[\s\S]*did you mean 'port'/);

    await page.goto(`${gateway.url}/#/live`);
    await page.waitForSelector('text=connected');
    await page.waitForSelector('[aria-label=Targets] >> text=up/m');

    await page.goto(`${gateway.url}/#/keys`);
    await page.waitForSelector('text=No keys yet');
    await page.click('text=New key');
    await page.fill('dialog input[name=name]', 'harbour master');
    await page.selectOption('dialog select', 'admin');
    await page.click('text=Make the key');
    const key = await page.innerText('dialog pre');
    expect(key).toMatch(/^tg-\w{40,}$/);
    await expect
      .poll(() => fetch(`${gateway.url}/v1/models`).then(({ status }) => status), { timeout: 10_000 })
      .toBe(401);
    await page.reload();
    await page.fill('input[name=key]', key);
    await page.click('text=Sign in');
    await page.waitForSelector('tbody >> text=harbour master');
    await page.goto(`${gateway.url}/#/requests`);
    await page.waitForSelector('tbody a');
    expect(troubles).toEqual([]);
    await page.close();
  });

  test.skipIf(!file)('pulls a model, loads and unloads it, and promotes a version', async () => {
    const store = createServer((_request, response) => {
      response.writeHead(200, { 'content-length': statSync(file ?? '').size });
      createReadStream(file ?? '').pipe(response);
    });
    await new Promise<void>((resolve) => store.listen(0, '127.0.0.1', resolve));
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-models-'));
    const configFile = join(folder, 'tidegate.yaml');
    const address = `http://127.0.0.1:${(store.address() as AddressInfo).port}/harbour.gguf`; // a TCP server's address
    writeFileSync(
      configFile,
      `engine: { threads: 1 }
providers: { up: { type: openai-compatible, baseUrl: "${upstream.url}" } }
models:
  own: { targets: [{ local: "${address}" }] }
  tide:
    targets: [{ provider: up, model: m }]
    canary: { target: { provider: up, model: m-next }, percent: 10 }
`,
    );
    const served = await startGateway({
      configFile,
      port: 0,
      env: { TIDEGATE_CACHE: join(folder, 'models') },
      log: { level: 'silent' },
    });
    try {
      const { page, troubles } = await openPage(browser, served.url);
      await page.goto(`${served.url}/#/models`);
      const own = page.locator('section[aria-label=own]');
      await own.locator('.badge >> text=absent').waitFor();
      await page.fill('[aria-label="Model to pull"]', address);
      await page.click('button:text("Pull")');
      await page.waitForSelector('text=The model is here.', { timeout: 60_000 });
      await own.locator('.badge >> text=unloaded').waitFor();
      await own.locator('button:text("Load")').click();
      await own.locator('.badge >> text=ready').waitFor({ timeout: 60_000 });
      await own.locator('text=Unload').click();
      await own.locator('.badge >> text=unloaded').waitFor();

      const tide = page.locator('section[aria-label=tide]');
      expect(await tide.locator('.stats').allInnerTexts()).toEqual(expect.arrayContaining(['90 %', '10 %']));
      await tide.locator('button:text("Promote") >> nth=1').click();
      await tide.locator('.stats >> text=100 %').waitFor();
      const answer = await fetch(`${served.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'tide', messages: [{ role: 'user', content: 'Tide?' }] }),
      });
      expect(answer.headers.get('x-tidegate-target')).toBe('up/m-next');
      expect(troubles).toEqual([]);
      await page.close();
    } finally {
      await served.close();
      store.closeAllConnections();
      store.close();
    }
  });

  test('shows the reference in the colours of the system', async () => {
    const { page, troubles } = await openPage(browser, gateway.url, { colorScheme: 'dark' });
    const classes = () => page.evaluate(() => document.documentElement.className);
    await page.goto(`${gateway.url}/docs`);
    await page.waitForSelector('.opblock');
    expect(await classes()).toBe('dark-mode'); // Swagger UI's own name
    await page.emulateMedia({ colorScheme: 'light' });
    await expect.poll(classes).toBe('');
    expect(troubles).toEqual([]);
    await page.close();
  });
});
