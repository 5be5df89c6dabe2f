import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newFolder, startBackend } from './backend.ts';
import { chromiumPath, launch, openPage } from './browser.ts';
import { buildDashboard } from './build.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** `SCREENSHOTS=docs/screenshots` renews the pictures of the README. */
const pictures = process.env['SCREENSHOTS'];

describe.skipIf(!chromiumPath)('the dashboard in a real Chromium', { timeout: 90_000 }, () => {
  let browser: Browser;
  let backend: Awaited<ReturnType<typeof startBackend>>;
  const ui = newFolder();
  const open: Page[] = [];
  const noticed: string[] = [];

  beforeAll(async () => {
    await buildDashboard(ui);
    backend = await startBackend({ ui });
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await backend?.close();
  });
  afterEach(async () => {
    for (const page of open.splice(0)) await page.close();
    expect(noticed.splice(0)).toEqual([]);
  });

  async function visit(path: string, options: Parameters<typeof openPage>[2] = {}, url = backend.url): Promise<Page> {
    const { page, troubles } = await openPage(browser, url, options);
    open.push(page);
    page.on('close', () => noticed.push(...troubles));
    await page.goto(`${url}/#/${path}`);
    await page.waitForSelector('h1');
    return page;
  }
  const say = async (page: Page, text: string) => {
    await page.waitForSelector('.lane option', { state: 'attached' }); // there is a model to ask
    await page.fill('[data-main-field]', text);
    await page.press('[data-main-field]', 'Enter');
  };
  const picture = async (page: Page, name: string) => {
    if (!pictures) return;
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  };
  const violations = async (page: Page) => {
    await page.evaluate(axe);
    return page.evaluate(async () => {
      const run = (globalThis as unknown as { axe: { run(options: object): Promise<{ violations: AxeViolation[] }> } })
        .axe.run; // put there by the line above
      const { violations: found } = await run({
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      });
      return found.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`,
      );
    });
  };
  /** What makes the page scroll sideways. */
  const tooWide = () =>
    document.documentElement.scrollWidth <= innerWidth
      ? []
      : [...document.querySelectorAll('body *')]
          .filter(
            (element) =>
              element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.table-wrap, .nav'),
          )
          .map((element) => `${element.tagName}.${element.className}`);
  const isPageNamed = () => {
    const { left, right } = document.querySelector('.nav [aria-current]')?.getBoundingClientRect() ?? {};
    const edge = document.querySelector('.nav')?.getBoundingClientRect();
    return left !== undefined && right !== undefined && !!edge && left >= edge.left - 1 && right <= edge.right + 1;
  };
  interface AxeViolation {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }

  test('chats: streams the answer, tells its speed, and shows how likely each token was', async () => {
    const page = await visit('playground');
    await say(page, 'Why are there tides?');
    await page.waitForSelector('.caret');
    await page.waitForSelector('text=How it came about');
    expect(await page.innerText('.turn.assistant .said')).toContain('Twice a day the harbour fills and empties.');
    expect(await page.innerText('.stats')).toMatch(/to first token.*tokens\/s.*28 tokens/s);
    await page.hover('.token >> nth=6');
    await expect.poll(() => page.innerText('.inspector')).toMatch(/12 %[\s\S]*␣sea[\s\S]*62 %/);
    await picture(page, 'playground');
    await page.focus('.said[role=group]');
    await page.keyboard.press('ArrowLeft');
    await expect.poll(() => page.innerText('.inspector')).toMatch(/^␣Moon\s+99 %/);
    await page.click('[aria-label="Good answer"]');
    await page.waitForSelector('text=Thanks');
  });

  test('stops an answer with Escape, and the gateway sees that the client has left', async () => {
    const cancelled = () => backend.history.find({ outcome: 'cancelled' }).length;
    const before = cancelled();
    const page = await visit('playground');
    await say(page, 'An endless answer, please');
    await page.waitForSelector('.token >> nth=4');
    await page.press('[data-main-field]', 'Escape');
    await page.waitForSelector('text=stopped');
    const written = await page.innerText('.turn.assistant .said');
    await page.waitForTimeout(300);
    expect(await page.innerText('.turn.assistant .said')).toBe(written);
    expect(written.length).toBeLessThan(10_000);
    await expect.poll(cancelled).toBe(before + 1);
  });

  test('compares two models side by side, on one prompt', async () => {
    const page = await visit('playground');
    await page.click('text=Compare');
    await expect.poll(() => page.inputValue('[aria-label="Model 2"]')).toBe('chat');
    await say(page, 'Why are there tides?');
    await page.waitForFunction(() => document.querySelectorAll('.stats a').length === 2, undefined, {
      timeout: 30_000,
    });
    const [first, second] = await page.locator('.lane').allInnerTexts();
    expect(first).toContain('the Moon pulls the sea');
    expect(second).toContain('two gentle bulges');
    await picture(page, 'compare');
  });

  test('tells what went wrong, and the next prompt works', async () => {
    const page = await visit('playground');
    await say(page, 'this should fail');
    expect(await page.innerText('[role=alert]')).toContain('The model is not to be reached just now.');
    await say(page, 'Why are there tides?');
    await page.waitForSelector('.stats >> text=How it came about');
    await page.click('[role=alert] >> text=How it came about');
    await page.waitForSelector('text=upstream failed');
  });

  test('turns the chat into curl, Python and JavaScript', async () => {
    const page = await visit('playground');
    await page.fill('[data-main-field]', "What's the tide?");
    await page.fill('text=System prompt', 'Be brief.');
    await page.click('text=Code');
    const code = () => page.innerText('dialog pre');
    await expect.poll(code).toContain(`curl ${backend.url}/v1/chat/completions`);
    expect(await code()).toContain("What'\\''s the tide?");
    await page.click('dialog >> text=python');
    await expect.poll(code).toMatch(/OpenAI\(base_url="http[\s\S]*Be brief\.[\s\S]*"stream": True/);
    await page.click('dialog >> text=javascript');
    await expect.poll(code).toContain('new OpenAI({ baseURL:');
    await page.keyboard.press('Escape');
    await expect.poll(() => page.locator('dialog').count()).toBe(0);
  });

  test('shows live what is under way, with slots, breakers and moving plots', async () => {
    const page = await visit('live');
    const asking = Array.from({ length: 4 }, () =>
      fetch(`${backend.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: 'chat', stream: true, messages: [{ role: 'user', content: 'long' }] }),
      }).then((response) => response.text()),
    );
    await page.waitForSelector('[aria-label="Requests under way"] tbody tr');
    await page.waitForFunction(
      () => /\d/.test(document.querySelector('.tile:nth-child(4) dd')?.textContent ?? ''),
      undefined,
      { timeout: 20_000 },
    );
    await expect.poll(() => page.locator('.slot').count()).toBe(8);
    await expect.poll(() => page.locator('canvas').count()).toBe(4);
    await expect.poll(() => page.innerText('[aria-label=Targets]')).toContain('half-open');
    await page.waitForTimeout(pictures ? 6000 : 0);
    await picture(page, 'live');
    await page.click('text=Pause');
    await page.waitForSelector('text=paused');
    await Promise.all(asking);
  });

  test('finds a request and shows its timeline, its cost and what was decided', async () => {
    const page = await visit('playground');
    await say(page, 'Why are there tides?');
    await page.waitForSelector('text=How it came about');
    await page.goto(`${backend.url}/#/requests`);
    await page.fill('input[type=search]', 'smollm2');
    await page.selectOption('select', 'ok');
    await page.waitForSelector('tbody a');
    await picture(page, 'requests');
    await page.click('tbody a');
    await page.waitForSelector('.timeline');
    const timeline = await page.innerText('.timeline');
    for (const step of ['admission', 'input filters', 'local/smollm2-135m-instruct', 'reading the prompt', 'writing']) {
      expect(timeline).toContain(step);
    }
    expect(await page.innerText('[aria-label=Facts]')).toMatch(/48, 32 from the KV cache/);
    expect(await page.innerText('[aria-label=Decisions]')).toMatch(/local\/smollm2-135m-instruct answered/);
    expect(await page.locator('.token').count()).toBe(28);
    await picture(page, 'request');
  });

  test('pulls a model with progress, unloads and loads one, promotes and rolls back a version', async () => {
    const page = await visit('models');
    await page.fill('[aria-label="Model to pull"]', 'tiny-tide');
    await page.click('button:text("Pull")');
    await page.waitForSelector('progress');
    await page.waitForSelector('text=The model is here.');
    await page.waitForSelector('section[aria-label=tiny-tide]');
    const smol = page.locator('section[aria-label=smollm2]');
    await smol.locator('text=Unload').click();
    await smol.locator('.badge >> text=unloaded').waitFor();
    await smol.locator('button:text("Load")').click();
    await smol.locator('.badge >> text=ready').waitFor();
    const chat = page.locator('section[aria-label=chat]');
    await picture(page, 'models');
    await chat.locator('button:text("Roll back") >> nth=1').click();
    await chat.locator('.stats >> text=100 %').waitFor();
    await chat.locator('button:text("Promote") >> nth=1').click();
    await expect.poll(() => chat.locator('.stats').allInnerTexts()).toEqual(expect.arrayContaining(['0 %', '100 %']));
  });

  test('makes a key, shows it once, and revokes it', async () => {
    const page = await visit('keys');
    await page.click('text=New key');
    await page.fill('dialog input[name=name]', 'notebook');
    await page.fill('dialog input[name=team]', 'research');
    await page.click('text=Make the key');
    expect(await page.innerText('dialog pre')).toMatch(/^tg-\w{20,}$/);
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    await expect.poll(() => page.innerText('[aria-label=Keys] tbody')).toMatch(/notebook[\s\S]*caller[\s\S]*research/);
    expect(await page.content()).not.toContain('tg-Ab3dxxxx');
    expect(await page.innerText('[aria-label=Budgets] tbody')).toMatch(/each-key\s+\S.*\s+\$7\.50\s+\$10\.00/);
    await picture(page, 'keys');
    await page.click('[aria-label=Keys] tbody >> text=Revoke');
    await page.click('text=Revoke the key');
    await page.waitForSelector('[aria-label=Keys] tbody >> text=revoked');
  });

  test('tries a text against the filters and says what became of it', async () => {
    const page = await visit('filters');
    await page.click('button:text-is("Try")');
    const result = page.locator('[aria-label=Result]');
    await result.waitFor();
    const text = await result.innerText();
    expect(text).not.toContain('jane.doe');
    expect(text).toMatch(/\[email\][\s\S]*held back at once[\s\S]*personal[\s\S]*mask/);
    await picture(page, 'filters');
  });

  test('shows the settings with their origin, and checks a changed text', async () => {
    const page = await visit('settings');
    expect(await page.innerText('tr:has-text("server.port")')).toMatch(/8787\s+file/);
    await page.click('text=Check');
    await page.waitForSelector('text=This configuration is valid.');
    await page.fill('[aria-label=Configuration]', 'server:\n  prot: 1\n');
    await page.click('text=Check');
    expect(await page.innerText('.notice.bad')).toMatch(/line 2\s+server\.prot.*did you mean 'port'/);
  });

  test('shows how the answers of each version are distributed', async () => {
    const page = await visit('quality');
    const version = page.locator('section[aria-label="local/smollm2-135m-instruct"]');
    await version.waitFor();
    await expect.poll(() => version.innerText()).toMatch(/answers[\s\S]*failed[\s\S]*language[\s\S]*gathering/);
    await expect.poll(() => version.locator('svg[role=img]').count()).toBeGreaterThan(3);
  });

  test('goes everywhere by keyboard', async () => {
    const page = await visit('live');
    const third = async () => {
      await page.keyboard.press('3'); // again, as the page may not listen yet
      return page.innerText('h1');
    };
    await expect.poll(third).toBe('Requests');
    await page.keyboard.press('/');
    expect(await page.evaluate(() => document.activeElement?.getAttribute('type'))).toBe('search');
    await page.keyboard.type('1');
    expect(await page.innerText('h1')).toBe('Requests');
    await page.evaluate(() => (document.activeElement as HTMLElement).blur()); // an input of ours
    await page.keyboard.press('?');
    expect(await page.innerText('dialog')).toContain('Stop the answer');
    await page.keyboard.press('Escape');
    await page.reload();
    await page.waitForSelector('h1');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
  });

  describe('is accessible (axe, WCAG 2.2 AA)', () => {
    test.each([
      { scheme: 'light' as const, width: 1360 },
      { scheme: 'dark' as const, width: 1360 },
      { scheme: 'light' as const, width: 390 },
    ])('on each page, $scheme, $width px wide', async ({ scheme, width }) => {
      const page = await visit('playground', { colorScheme: scheme, viewport: { width, height: 860 } });
      await say(page, 'Why are there tides?');
      await page.waitForSelector('text=How it came about');
      const found: Record<string, string[]> = { playground: await violations(page) };
      if (width < 800) await picture(page, 'phone');
      for (const name of ['live', 'requests', 'models', 'quality', 'keys', 'filters', 'settings']) {
        await page.goto(`${backend.url}/#/${name}`);
        await page.waitForSelector('h1');
        await page.waitForTimeout(name === 'live' ? 1300 : 250);
        if (name === 'live' && scheme === 'dark') await picture(page, 'live-dark');
        found[name] = await violations(page);
        expect(await page.evaluate(tooWide)).toEqual([]);
        expect(await page.evaluate(isPageNamed), `${name} is seen among the pages`).toBe(true);
      }
      expect(Object.entries(found).filter(([, list]) => list.length > 0)).toEqual([]);
    });
  });

  test('asks for a key when keys are on, refuses a wrong one, and forgets it with the tab', async () => {
    const locked = await startBackend({ ui, key: 'tg-right' });
    try {
      const page = await visit('playground', {}, locked.url);
      expect(await violations(page)).toEqual([]);
      await page.fill('input[name=key]', 'tg-wrong');
      await page.click('text=Sign in');
      await page.waitForSelector('text=This API key is not known');
      await page.fill('input[name=key]', 'tg-right');
      await page.click('text=Sign in');
      await say(page, 'Why are there tides?');
      await page.waitForSelector('text=How it came about');
      expect(await page.evaluate(() => JSON.stringify(localStorage) + document.cookie)).not.toContain('tg-right');
      const fresh = await visit('live', {}, locked.url);
      await fresh.waitForSelector('input[name=key]');
    } finally {
      await locked.close();
    }
  });

  test('says who may use scripts and connections', async () => {
    const { headers } = await fetch(backend.url, { headers: { accept: 'text/html' } });
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
  });
});
