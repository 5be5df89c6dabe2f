/** Numbers as people read them; a dash where there is none. */
export const none = '–';

export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return none;
  if (ms === 0) return '0 ms';
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return none;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  if (value >= 100) return String(Math.round(value));
  return value % 1 === 0 ? String(value) : value.toFixed(1);
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return none;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined) return none;
  if (usd === 0) return '$0';
  return usd < 0.01 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(2)}`;
}

export const percent = (share: number | null | undefined): string =>
  share === null || share === undefined ? none : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** Today's times without the date. */
export function time(unixMs: number | undefined): string {
  if (unixMs === undefined) return none;
  const when = new Date(unixMs);
  return when.toDateString() === new Date().toDateString() ? clock.format(when) : date.format(when);
}

const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

export const day = (unixMs: number | undefined): string => (unixMs === undefined ? none : calendar.format(unixMs));
