#!/usr/bin/env node
// Turns what a terminal showed (with its colours, on standard input) into a picture: node scripts/terminal-svg.mjs < session > docs/terminal.svg
import { readFileSync } from 'node:fs';

const text = readFileSync(0, 'utf8').replaceAll('\r', '').replace(/\n$/, '');
const colors = { 31: '#f87171', 32: '#4ade80', 33: '#facc15', 36: '#67e8f9' };
const [charWidth, lineHeight, pad] = [8.43, 20, 20];

const lines = text.split('\n').map((line) => {
  let style = {};
  let column = 0;
  return line.split(/(\x1b\[[0-9;]*[A-Za-z])/).flatMap((piece) => {
    const code = /^\x1b\[([0-9;]*)m$/.exec(piece)?.[1];
    if (code !== undefined) for (const one of code.split(';').map(Number)) style = next(style, one);
    if (piece.startsWith('\x1b') || piece === '') return [];
    const span = { column, text: piece, style };
    column += [...piece].length;
    return [span];
  });
});

const columns = Math.max(...lines.flat().map(({ column, text: shown }) => column + [...shown].length), 60);
const width = Math.ceil(columns * charWidth + 2 * pad);
const height = lines.length * lineHeight + 2 * pad + 24;
const spans = lines.flatMap((line, row) =>
  line.map(({ column, text: shown, style }) => {
    const attributes = [
      `x="${(pad + column * charWidth).toFixed(1)}" y="${pad + 34 + row * lineHeight}"`,
      `textLength="${([...shown].length * charWidth).toFixed(1)}"`,
      `fill="${style.color ?? '#e5e7eb'}"`,
      ...(style.bold ? ['font-weight="bold"'] : []),
      ...(style.dim ? ['opacity="0.6"'] : []),
    ];
    return `<text xml:space="preserve" ${attributes.join(' ')}>${escapeXml(shown)}</text>`;
  }),
);
console.log(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">
<title>${escapeXml(process.argv[2] ?? 'A terminal session')}</title>
<rect width="${width}" height="${height}" rx="10" fill="#111827"/>
<g><circle cx="20" cy="18" r="6" fill="#ef4444"/><circle cx="40" cy="18" r="6" fill="#eab308"/><circle cx="60" cy="18" r="6" fill="#22c55e"/></g>
${spans.join('\n')}
</svg>`);

function next(style, code) {
  if (code === 0) return {};
  if (code === 1) return { ...style, bold: true };
  if (code === 2) return { ...style, dim: true };
  if (code === 22) return { ...style, bold: false, dim: false };
  if (code === 39) return { ...style, color: undefined };
  return colors[code] ? { ...style, color: colors[code] } : style;
}

function escapeXml(shown) {
  return shown.replace(/[&<>]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[character]);
}
