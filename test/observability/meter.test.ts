import { expect, test } from 'vitest';
import { prometheusMeter } from '../../src/observability/metrics.node.ts';

test('counts and histograms are printed as Prometheus reads them, each label set once', async () => {
  const meter = prometheusMeter({ process: false });
  const counter = meter.counter({ name: 'c_total', help: 'C.', labels: ['a'] });
  const histogram = meter.histogram({ name: 'h', help: 'H.', labels: ['a'], buckets: [0.5, 1] });
  histogram(['never']);
  for (const value of [0.5, 0.7, 3, Number.NaN]) histogram(['x'])(value);
  counter(['x'])(2);
  expect(await meter.expose()).toContain('c_total{a="x"} 2');
  counter(['x'])(1); // bound anew, and after a scrape
  const text = await meter.expose();
  expect(text).toContain('c_total{a="x"} 3');
  expect(text.slice(text.indexOf('# HELP h'))).toBe(
    `# HELP h H.
# TYPE h histogram
h_bucket{le="0.5",a="x"} 1
h_bucket{le="1",a="x"} 2
h_bucket{le="+Inf",a="x"} 3
h_sum{a="x"} 4.2
h_count{a="x"} 3
`,
  );
});
