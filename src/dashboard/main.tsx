import 'uplot/dist/uPlot.min.css';
import './style.css';
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, savedKey, saveKey } from './api.ts';
import { Filters } from './filters.tsx';
import { Icon } from './icons.tsx';
import { Keys } from './keys.tsx';
import { Live } from './live.tsx';
import { Login } from './login.tsx';
import type { Me } from './me.ts';
import { Models } from './models.tsx';
import { Dialog, Problem } from './parts.tsx';
import { Playground } from './playground.tsx';
import { Quality } from './quality.tsx';
import { Requests } from './requests.tsx';
import { Settings } from './settings.tsx';
import { applyTheme, currentTheme, followSystemTheme, type Theme } from './theme.ts';

const pages = [
  { path: 'playground', name: 'Playground', Body: Playground, admin: false },
  { path: 'live', name: 'Live', Body: Live, admin: true },
  { path: 'requests', name: 'Requests', Body: Requests, admin: true },
  { path: 'models', name: 'Models', Body: Models, admin: true },
  { path: 'quality', name: 'Quality', Body: Quality, admin: true },
  { path: 'keys', name: 'Keys and budgets', Body: Keys, admin: true },
  { path: 'filters', name: 'Filters', Body: Filters, admin: true },
  { path: 'settings', name: 'Settings', Body: Settings, admin: true },
] as const;

const route = () => location.hash.replace(/^#\//, '').split('/').map(decodeURIComponent);

function App() {
  const [[path = '', argument], setRoute] = useState(route);
  const [me, setMe] = useState<Me>();
  const [error, setError] = useState<unknown>();
  const [locked, setLocked] = useState(false);
  const [help, setHelp] = useState(false);

  const enter = () =>
    get<Me>('/admin/me').then(
      (found) => {
        setMe(found);
        setLocked(false);
        setError(undefined);
      },
      (reason) => {
        if (reason instanceof ApiError && reason.status === 401) setLocked(true);
        setError(reason);
      },
    );
  useEffect(() => {
    void enter();
    const moved = () => setRoute(route());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);

  const mine = pages.filter(
    ({ admin, path: name }) => (me?.role === 'admin' || !admin) && (name !== 'quality' || me?.can['quality']),
  );
  const page = mine.find((one) => one.path === path) ?? mine[0];

  useEffect(() => {
    if (page) document.title = `${page.name} · Tidegate`;
    // On a phone the pages are one line that scrolls.
    document.querySelector('.nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [page]);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.matches('input, textarea, select, dialog *');
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const wanted = mine[Number(event.key) - 1];
      if (wanted) location.hash = `#/${wanted.path}`;
      else if (event.key === '?') setHelp(true);
      else if (event.key === '/') {
        const field = document.querySelector<HTMLElement>('[data-main-field]');
        if (field) {
          event.preventDefault();
          field.focus();
        }
      }
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [mine.length]);

  if (locked) {
    return (
      <Login
        failed={savedKey() ? error : undefined}
        onKey={(key) => {
          saveKey(key);
          void enter();
        }}
      />
    );
  }
  if (!me || !page)
    return error ? (
      <div class="login">
        <Problem error={error} />
      </div>
    ) : null;

  const { Body } = page;
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to content
      </button>
      <div class="shell">
        <header class="side">
          <div class="brand">
            <img src="/ui/icon.svg" alt="" />
            <span>Tidegate</span>
          </div>
          <nav class="nav" aria-label="Pages">
            {mine.map(({ path: name, name: title }) => (
              <a href={`#/${name}`} aria-current={page.path === name ? 'page' : undefined} key={name}>
                <Icon name={name} />
                {title}
              </a>
            ))}
          </nav>
          <div class="side-foot">
            <span class="version">{me.version}</span>
            <ThemeButton />
            {savedKey() && (
              <button
                type="button"
                class="button quiet small"
                onClick={() => {
                  saveKey('');
                  location.reload();
                }}
              >
                Sign out
              </button>
            )}
          </div>
        </header>
        <main id="main" class="main" tabIndex={-1}>
          <Body me={me} argument={argument} key={page.path} />
        </main>
      </div>
      {help && <Help onClose={() => setHelp(false)} pages={mine.map(({ name }) => name)} />}
    </>
  );
}

function ThemeButton() {
  const [theme, setTheme] = useState<Theme>(currentTheme);
  const next: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
  return (
    <button
      type="button"
      class="button quiet small"
      aria-label={`Colours: ${theme}. Change.`}
      title={`Colours: ${theme}`}
      onClick={() => {
        applyTheme(next[theme]);
        setTheme(next[theme]);
      }}
    >
      <Icon name="sun" />
    </button>
  );
}

function Help({ onClose, pages: names }: { onClose: () => void; pages: readonly string[] }) {
  const keys: readonly (readonly [string, string])[] = [
    ...names.map((name, index) => [String(index + 1), name] as const),
    ['/', 'Go to the prompt or the search'],
    ['Enter', 'Send the prompt'],
    ['Shift Enter', 'New line'],
    ['Esc', 'Stop the answer'],
    ['?', 'This help'],
  ];
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl class="facts">
        {keys.map(([key, what]) => (
          <>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </>
        ))}
      </dl>
    </Dialog>
  );
}

applyTheme();
followSystemTheme();
const place = document.getElementById('app');
if (place) {
  place.replaceChildren();
  render(<App />, place);
}
