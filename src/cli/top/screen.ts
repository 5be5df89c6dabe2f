import type { EngineStatus, SlotStatus } from '../../core/status.ts';
import type { LivePoint, LiveRequest, LiveSnapshot } from '../../observability/live.ts';
import type { Paint } from '../cli.ts';
import { formatBytes, formatDuration, formatTable } from '../format.ts';

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** One picture of a gateway at work: rates, engines with their slots, targets, requests. Never more than fits. */
export function drawScreen(
  { point, requests, engines, targets, totals, startedAt }: LiveSnapshot,
  points: readonly LivePoint[],
  { paint, size, where, now }: { paint: Paint; size: ScreenSize; where: string; now: number },
): string {
  const { bold, dim, cyan } = paint;
  const ms = (value: number | null) => (value === null ? '-' : formatDuration(value));
  const recent = points.slice(-Math.max(10, Math.min(60, size.columns - 50)));
  const line = (label: string, text: string, of: (point: LivePoint) => number) =>
    `${label.padEnd(11)} ${text.padEnd(30)} ${cyan(trend(recent.map(of)))}`;
  const lines = [
    `${bold('Tidegate')} ${where}  ${dim(`up ${formatDuration(now - startedAt)}, ${totals.requests} requests, ${totals.failed} failed, ${totals.cacheHits} from cache`)}`,
    '',
    line(
      'tokens/s',
      `${point.tokensPerSecond.toFixed(0)} out, ${point.prefillPerSecond.toFixed(0)} prompt`,
      (p) => p.tokensPerSecond,
    ),
    line(
      'requests/s',
      `${point.requestsPerSecond.toFixed(1)}, ${point.errorsPerSecond.toFixed(1)} failing`,
      (p) => p.requestsPerSecond,
    ),
    line('in flight', `${point.inFlight}, ${point.waiting} waiting`, (p) => p.inFlight),
    line('TTFT', `p50 ${ms(point.ttftP50)}, p95 ${ms(point.ttftP95)}`, (p) => p.ttftP95 ?? 0),
    line('ITL', `p50 ${ms(point.itlP50)}, p95 ${ms(point.itlP95)}`, (p) => p.itlP95 ?? 0),
    ...engines.flatMap((engine) => ['', ...engineLines(engine, paint)]),
    ...(targets.length === 0 ? [] : ['', bold('Targets')]),
    ...targets.map(({ target, breaker, inFlight, healthy }) => {
      const state = healthy && breaker === 'closed' ? paint.green('●') : paint.red('●');
      return `  ${state} ${target}  ${inFlight} in flight${breaker === 'closed' ? '' : paint.yellow(`  breaker ${breaker}`)}`;
    }),
    ...(requests.length === 0 ? [] : ['', ...requestLines(requests, paint, now)]),
  ];
  const room = Math.max(5, size.rows - 1);
  const shown =
    lines.length <= room ? lines : [...lines.slice(0, room - 1), dim(`… ${lines.length - room + 1} more lines`)];
  return shown.join('\n');
}

function engineLines(engine: EngineStatus, { bold, dim, green, yellow }: Paint): readonly string[] {
  const { model, state, slots, waiting, batchWidth, kv, counters } = engine;
  const hits = counters.promptTokens > 0 ? Math.round((counters.prefixHitTokens / counters.promptTokens) * 100) : 0;
  const tiers = kv.map(({ tier, used, capacity, unit }) =>
    unit === 'bytes'
      ? `${tier} ${formatBytes(used)} of ${formatBytes(capacity)}`
      : `${tier} ${used} of ${capacity} tokens`,
  );
  const empty = slots.filter(isEmpty).length;
  const color = state === 'ready' ? green : yellow;
  return [
    `${bold(model)} ${color(state)}  ${dim(`${waiting} waiting, batch of ${batchWidth}, ${hits}% of prompt tokens from the KV cache`)}`,
    ...(tiers.length > 0 ? [dim(`  KV: ${tiers.join(', ')}`)] : []),
    ...slots.filter((slot) => !isEmpty(slot)).map((slot) => `  ${slotLine(slot)}`),
    ...(empty > 0 ? [dim(`  ${empty} empty slots`)] : []),
  ];
}

const isEmpty = ({ state, usedTokens }: SlotStatus): boolean => state === 'idle' && usedTokens === 0;

const slotCells = 24;

function slotLine({ id, state, usedTokens, contextTokens, prefixTokens }: SlotStatus): string {
  const cells = (tokens: number) =>
    Math.round((Math.min(tokens, contextTokens) / Math.max(1, contextTokens)) * slotCells);
  const reused = state === 'idle' ? 0 : cells(Math.min(prefixTokens, usedTokens));
  const used = Math.max(cells(usedTokens), reused);
  const bar = '▓'.repeat(reused) + '█'.repeat(used - reused) + '░'.repeat(slotCells - used);
  return `${String(id).padStart(2)} ${state.padEnd(7)} ${bar} ${usedTokens} of ${contextTokens}`;
}

function requestLines(requests: readonly LiveRequest[], { bold }: Paint, now: number): readonly string[] {
  const rows = requests.map((request) => [
    `  ${request.model}`,
    request.target ?? '-',
    request.phase === 'reading' && request.promptTokens
      ? `reading ${request.promptRead ?? 0}/${request.promptTokens}`
      : request.phase,
    `${request.tokens} tokens`,
    request.ttftMs === undefined ? '-' : formatDuration(request.ttftMs),
    formatDuration(Math.max(0, now - request.startedAt)),
  ]);
  return formatTable([['  REQUEST', 'TARGET', 'DOES', 'MADE', 'TTFT', 'AGE'].map(bold), ...rows], [3, 4, 5]).split(
    '\n',
  );
}

const blocks = ' ▁▂▃▄▅▆▇█';

/** The course of a value as one line of blocks, scaled to its own largest. */
function trend(values: readonly number[]): string {
  const most = Math.max(0, ...values);
  return values
    .map((value) => blocks[most > 0 ? Math.ceil((Math.max(0, value) / most) * (blocks.length - 1)) : 0])
    .join('');
}
