import { stripVTControlCharacters } from 'node:util';
import type { PullProgress } from '../models/progress.ts';
import type { Cli } from './cli.ts';
import { formatBytes, formatDuration } from './format.ts';

const mostBarCells = 28;
/** What stands beside the bar at its longest: phase, share, sizes, speed, time left. */
const besideBar = 68;
const redrawMs = 80;
const plainEveryMs = 5_000;

/**
 * Shows a pull on stderr: a bar that redraws itself on a terminal, a plain line now and then elsewhere. Not clack's
 * progress, which takes the keyboard and turns Ctrl-C into exit code 0.
 */
export function showPull(cli: Cli, name: string, now: () => number = () => performance.now()) {
  const live = cli.stderr.isTTY === true && cli.env['TERM'] !== 'dumb';
  const speed = createSpeed(now);
  let phase = '';
  let shownAt = Number.NEGATIVE_INFINITY;
  const clear = () => live && cli.stderr.write('\r\x1b[2K');

  return {
    onProgress(progress: PullProgress): void {
      const changed = progress.phase + progress.source !== phase;
      if (changed) {
        phase = progress.phase + progress.source;
        speed.restart();
      }
      speed.add(progress.received);
      if (!changed && now() - shownAt < (live ? redrawMs : plainEveryMs)) return;
      shownAt = now();
      const columns = cli.stderr.columns || 80;
      if (live) cli.stderr.write(`\r\x1b[2K${cut(bar(cli, progress, speed.bytesPerSecond(), columns), columns)}`);
      else cli.note(plain(name, progress));
    },
    done: clear,
  };
}

function plain(name: string, { phase, source, received, total }: PullProgress): string {
  const share = total
    ? ` ${Math.floor((received / total) * 100)}% of ${formatBytes(total)}`
    : ` ${formatBytes(received)}`;
  switch (phase) {
    case 'looking':
      return `${name}: asking ${source}`;
    case 'waiting':
      return `${name}: waiting for another process that fetches it${received > 0 ? `,${share}` : ''}`;
    case 'downloading':
      return `${name}: downloading from ${source},${share}`;
    case 'unpacking':
      return `${name}: unpacking,${share}`;
    case 'checking':
      return `${name}: checking,${share}`;
    default:
      return phase satisfies never;
  }
}

function bar(
  { paint }: Cli,
  { phase, source, received, total }: PullProgress,
  bytesPerSecond: number,
  columns: number,
): string {
  if (phase === 'looking') return `  ${paint.dim(`asking ${source} …`)}`;
  const share = total ? Math.min(1, received / total) : 0;
  const cells = Math.max(6, Math.min(mostBarCells, columns - besideBar));
  const filled = Math.round(share * cells);
  const drawn = paint.cyan('━'.repeat(filled)) + paint.dim('━'.repeat(cells - filled));
  const left = total && bytesPerSecond > 0 ? ((total - received) / bytesPerSecond) * 1000 : 0;
  const parts = [
    total ? `${String(Math.floor(share * 100)).padStart(3)}%` : '',
    total ? `${formatBytes(received)} of ${formatBytes(total)}` : formatBytes(received),
    phase === 'downloading' && bytesPerSecond > 0 ? `${formatBytes(bytesPerSecond)}/s` : '',
    phase === 'downloading' && left > 1000 ? `${formatDuration(left)} left` : '',
  ].filter(Boolean);
  const line = `  ${phase.padEnd(11)} ${drawn} ${parts.join('  ')}`;
  const fits = stripVTControlCharacters(line).length + 2 + source.length < columns;
  return fits ? `${line}  ${paint.dim(source)}` : line; // half a name says less than none
}

/** Bytes per second over the last three seconds. */
function createSpeed(now: () => number) {
  let marks: { at: number; received: number }[] = [];
  return {
    restart: () => {
      marks = [];
    },
    add: (received: number) => {
      const at = now();
      marks = [...marks.filter((mark) => at - mark.at < 3_000), { at, received }].slice(-200);
    },
    bytesPerSecond: () => {
      const first = marks[0];
      const last = marks.at(-1);
      if (!first || !last || last.at - first.at < 200) return 0;
      return Math.max(0, ((last.received - first.received) / (last.at - first.at)) * 1000);
    },
  };
}

/** Cut to the terminal's width, so that the line can be redrawn; escape codes count nothing. */
function cut(line: string, columns: number): string {
  const most = columns - 1;
  let seen = 0;
  let out = '';
  for (const piece of line.split(/(\x1b\[[0-9;]*m)/)) {
    if (piece.startsWith('\x1b')) out += piece;
    else {
      out += piece.slice(0, Math.max(0, most - seen));
      seen += piece.length;
    }
  }
  return out;
}
