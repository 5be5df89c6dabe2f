export interface Panel {
  readonly title: string;
  /** In words: which way is better. */
  readonly note: string;
  readonly format: (value: number) => string;
  /** group → series → value */
  readonly values: Readonly<Record<string, Readonly<Record<string, Bar>>>>;
}

export interface Bar {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

const colors = ['#9aa5b1', '#c4cdd5', '#e0a458', '#5b8e7d', '#2f6fad'];
const plain = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** Grouped bars, one panel a figure, as an SVG that reads on light and dark pages. */
export function chart(title: string, series: readonly string[], panels: readonly Panel[]): string {
  const [width, panelWidth, panelHeight, left, top] = [1000, 470, 190, 20, 78];
  const rows = Math.ceil(panels.length / 2);
  const height = top + rows * (panelHeight + 50);
  const parts: string[] = [
    `<text x="${left}" y="26" font-size="17" font-weight="600">${plain(title)}</text>`,
    ...series.map(
      (name, i) =>
        `<rect x="${left + i * 155}" y="42" width="12" height="12" fill="${colors[i % colors.length]}"/><text x="${left + 17 + i * 155}" y="52" font-size="12">${plain(name)}</text>`,
    ),
  ];
  for (const [index, panel] of panels.entries()) {
    const x = left + (index % 2) * (panelWidth + 20);
    const y = top + Math.floor(index / 2) * (panelHeight + 50);
    const groups = Object.entries(panel.values);
    const groupWidth = (panelWidth - 10) / groups.length;
    const barWidth = (groupWidth - 22) / series.length;
    parts.push(
      `<text x="${x}" y="${y + 8}" font-size="13" font-weight="600">${plain(panel.title)}</text>`,
      `<text x="${x + panelWidth - 10}" y="${y + 8}" font-size="11" text-anchor="end" opacity="0.7">${plain(panel.note)}</text>`,
      `<line x1="${x}" x2="${x + panelWidth - 10}" y1="${y + panelHeight}" y2="${y + panelHeight}" stroke="#888" stroke-width="1"/>`,
    );
    for (const [g, [group, values]] of groups.entries()) {
      const most = Math.max(
        ...Object.values(values)
          .map((bar) => bar.most)
          .filter(Number.isFinite),
        1e-9,
      ); // each group has its own scale
      const gx = x + g * groupWidth;
      parts.push(
        `<text x="${gx + (groupWidth - 12) / 2}" y="${y + panelHeight + 16}" font-size="12" text-anchor="middle">${plain(group)}</text>`,
      );
      for (const [s, name] of series.entries()) {
        const bar = values[name];
        if (bar === undefined || !Number.isFinite(bar.median)) continue;
        const value = bar.median;
        const heightOf = (figure: number) => Math.max(1, ((panelHeight - 45) * figure) / most);
        const barHeight = heightOf(value);
        const bx = gx + s * barWidth;
        const middle = (bx + barWidth / 2 - 1).toFixed(1);
        const [low, high] = [y + panelHeight - heightOf(bar.least), y + panelHeight - heightOf(bar.most)];
        parts.push(
          `<rect x="${bx.toFixed(1)}" y="${(y + panelHeight - barHeight).toFixed(1)}" width="${(barWidth - 2).toFixed(1)}" height="${barHeight.toFixed(1)}" fill="${colors[s % colors.length]}"><title>${plain(`${name}: ${panel.format(value)}`)}</title></rect>`,
          `<line x1="${middle}" x2="${middle}" y1="${low.toFixed(1)}" y2="${high.toFixed(1)}" stroke="currentColor" stroke-width="1" opacity="0.7"/>`,
          `<text x="${middle}" y="${(high - 4).toFixed(1)}" font-size="8.5" text-anchor="middle">${plain(panel.format(value))}</text>`,
        );
      }
    }
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" fill="#222"><style>@media (prefers-color-scheme: dark) { svg { fill: #ddd } }</style>${parts.join('')}</svg>\n`;
}
