import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

/** A Chromium that is on this machine (Debian: `apt-get install chromium`); `CHROMIUM` names another place. */
export const chromiumPath = [
  process.env['CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path): path is string => path !== undefined && existsSync(path));

if (!chromiumPath) {
  if (process.env['CI']) throw new Error('Chromium is missing: apt-get install chromium, or set CHROMIUM.');
  console.log('skipped: no Chromium found (apt-get install chromium, or set CHROMIUM)');
}

export const launch = (): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumPath ?? '', args: ['--no-sandbox', '--disable-gpu'] });

/** A page that fails its test when a script throws, something is blocked by the CSP, or another host is asked. */
export async function openPage(browser: Browser, url: string, options: Parameters<Browser['newPage']>[0] = {}) {
  const page: Page = await browser.newPage({ viewport: { width: 1360, height: 860 }, ...options });
  const troubles: string[] = [];
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) troubles.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) troubles.push(`asked ${request.url()}`);
  });
  return { page, troubles };
}
