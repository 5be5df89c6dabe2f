import type { Summary } from './sample.ts';

/** One level of load: `x` is its concurrency or rate. */
export interface Level {
  readonly x: number;
  readonly summary: Summary;
}

/** Horizontal bars, one a level, scaled to the largest value; the value follows its bar. */
export function asciiBars(
  rows: readonly { readonly label: string; readonly value: number; readonly text: string }[],
  width = 40,
): string {
  const most = Math.max(0, ...rows.map(({ value }) => value));
  const labels = Math.max(0, ...rows.map(({ label }) => label.length));
  return rows
    .map(({ label, value, text }) => {
      const cells = most > 0 ? Math.max(value > 0 ? 1 : 0, Math.round((value / most) * width)) : 0;
      return `  ${label.padStart(labels)} ${'█'.repeat(cells)} ${text}`;
    })
    .join('\n');
}

interface Series {
  readonly name: string;
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Throughput and latency over load, as one SVG that needs no font, script or style from elsewhere. */
export function svgPlot(title: string, xLabel: string, levels: readonly Level[]): string {
  const series = (name: string, color: string, of: (summary: Summary) => number | undefined): Series => ({
    name,
    color,
    points: levels.flatMap(({ x, summary }) => {
      const y = of(summary);
      return y === undefined ? [] : [[x, y] as const];
    }),
  });
  const panels = [
    panel('Output tokens per second', xLabel, 0, [series('tokens/s', '#2563eb', (s) => s.outputTokensPerSecond)]),
    panel('Time to first token, ms', xLabel, 420, [
      series('p50', '#16a34a', (s) => s.ttftMs?.p50),
      series('p99', '#dc2626', (s) => s.ttftMs?.p99),
    ]),
    panel('Time per output token, ms', xLabel, 840, [
      series('p50', '#16a34a', (s) => s.tpotMs?.p50),
      series('p99', '#dc2626', (s) => s.tpotMs?.p99),
    ]),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1260 340" font-family="system-ui, sans-serif" font-size="13">
<title>${escapeXml(title)}</title>
<rect width="1260" height="340" fill="#fff"/>
<text x="20" y="28" font-size="16" font-weight="600">${escapeXml(title)}</text>
${panels.join('\n')}
</svg>
`;
}

const box = { left: 64, top: 80, width: 310, height: 190 };

function panel(title: string, xLabel: string, offset: number, all: readonly Series[]): string {
  const points = all.flatMap((series) => series.points);
  const xs = points.map(([x]) => x);
  const most = niceCeiling(Math.max(0, ...points.map(([, y]) => y)));
  const [low, high] = [Math.min(...xs, Number.POSITIVE_INFINITY), Math.max(...xs, Number.NEGATIVE_INFINITY)];
  const left = offset + box.left;
  const bottom = box.top + box.height;
  const px = (x: number) => left + (high > low ? ((x - low) / (high - low)) * box.width : box.width / 2);
  const py = (y: number) => bottom - (most > 0 ? (y / most) * box.height : 0);
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = py(most * share);
    return `<line x1="${left}" x2="${left + box.width}" y1="${y}" y2="${y}" stroke="#e5e7eb"/><text x="${left - 8}" y="${y + 4}" text-anchor="end" fill="#6b7280">${short(most * share)}</text>`;
  });
  const ticks = [...new Set(xs)].map(
    (x) => `<text x="${px(x)}" y="${bottom + 18}" text-anchor="middle" fill="#6b7280">${short(x)}</text>`,
  );
  const drawn = all.map(({ color, points: own }) => {
    const path = own.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(' ');
    const dots = own.map(
      ([x, y]) => `<circle cx="${px(x).toFixed(1)}" cy="${py(y).toFixed(1)}" r="3.5" fill="${color}"/>`,
    );
    return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>${dots.join('')}`;
  });
  const names =
    all.length < 2
      ? ''
      : all
          .map(
            ({ name, color }, at) =>
              `<text x="${left + box.width - 60 + at * 36}" y="64" fill="${color}" font-weight="600">${name}</text>`,
          )
          .join('');
  return `<text x="${left}" y="64" font-weight="600">${escapeXml(title)}</text>${names}${grid.join('')}${ticks.join('')}${drawn.join('')}<text x="${left + box.width / 2}" y="${bottom + 38}" text-anchor="middle" fill="#6b7280">${escapeXml(xLabel)}</text>`;
}

/** 1, 2, 2.5 or 5 times a power of ten, not below `value`. */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10);
}

const short = (value: number): string => String(Number(value.toPrecision(3)));
const escapeXml = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character] ?? '');
