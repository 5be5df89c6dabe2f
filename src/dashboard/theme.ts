export type Theme = 'system' | 'light' | 'dark';

const stored = (): Theme => {
  const value = localStorage.getItem('tidegate.theme');
  return value === 'light' || value === 'dark' ? value : 'system';
};
const prefersDark = () => matchMedia('(prefers-color-scheme: dark)');

export function currentTheme(): Theme {
  return stored();
}

/** Sets the page's colours; `system` follows the machine, also when that changes. */
export function applyTheme(theme: Theme = stored()): void {
  if (theme === 'system') localStorage.removeItem('tidegate.theme');
  else localStorage.setItem('tidegate.theme', theme);
  const dark = theme === 'dark' || (theme === 'system' && prefersDark().matches);
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
  dispatchEvent(new Event('tidegate-theme'));
}

export function followSystemTheme(): void {
  prefersDark().addEventListener('change', () => applyTheme());
}
