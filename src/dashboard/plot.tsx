import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';

export interface Series {
  readonly label: string;
  /** The name of a colour in style.css. */
  readonly color: '--plot-1' | '--plot-2' | '--plot-3';
  readonly values: readonly (number | null)[];
}

interface PlotProps {
  readonly title: string;
  readonly at: readonly number[];
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
}

/** A moving line plot. Its last values are in the heading, so that it is not only a picture. */
export function Plot({ title, at, series, format }: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const make = () => {
      plot.current?.destroy();
      const style = getComputedStyle(document.documentElement);
      const color = (name: string) => style.getPropertyValue(name).trim();
      const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } };
      plot.current = new uPlot(
        {
          width: element.clientWidth,
          height: 150,
          padding: [8, 26, 0, 0],
          cursor: { y: false, points: { size: 6 } },
          legend: { show: false },
          scales: { y: { range: (_plot, _low, high) => [0, (high || 1) * 1.15] } },
          axes: [
            { ...axis, grid: { show: false }, size: 26, space: 90, values: (_plot, ticks) => ticks.map(clock) },
            { ...axis, size: 58, values: (_plot, ticks) => ticks.map((tick) => format(tick)) },
          ],
          series: [
            {},
            ...series.map(({ label, color: name }) => ({
              label,
              stroke: color(name),
              width: 2,
              points: { show: false },
            })),
          ],
        },
        dataOf(at, series),
        element,
      );
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: 150 }));
    resized.observe(element);
    addEventListener('tidegate-theme', make);
    return () => {
      resized.disconnect();
      removeEventListener('tidegate-theme', make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => plot.current?.setData(dataOf(at, series)), [at]);

  const last = (values: Series['values']) => values.at(-1) ?? null;
  return (
    <section class="card" aria-label={title}>
      <div class="plot-head">
        <h2>{title}</h2>
        <span class="spacer" />
        {series.map((line) => {
          const value = last(line.values);
          return (
            <span class={`key c${line.color.slice(-1)}`} key={line.label}>
              {line.label} {value === null ? '–' : format(value)}
            </span>
          );
        })}
      </div>
      <div ref={place} aria-hidden="true" />
    </section>
  );
}

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const clock = (unixSeconds: number) => clockFormat.format(unixSeconds * 1000);

const dataOf = (at: readonly number[], series: readonly Series[]): uPlot.AlignedData =>
  [[...at], ...series.map(({ values }) => [...values])] as uPlot.AlignedData; // x first, as uPlot wants it
