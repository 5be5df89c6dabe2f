import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { prometheusMeter } from '../../src/observability/metrics.node.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { createQuality } from '../../src/observability/quality.ts';
import { ask, contextOf } from '../request.ts';
import { answerOf, drain, gatewayWith, scripted } from './harness.ts';
import { promtool } from './promtool.ts';

const deploy = join(import.meta.dirname, '../../deploy');
const prometheusFiles = ['rules.yml', 'alerts.yml', 'alerts.test.yml'].map((file) => join(deploy, 'prometheus', file));
const dashboard = JSON.parse(
  readFileSync(join(deploy, 'grafana/dashboards/tidegate.json'), 'utf8'),
) as GrafanaDashboard; // our own file

interface GrafanaDashboard {
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly {
    readonly title: string;
    readonly datasource?: { readonly uid: string };
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}

const meter = prometheusMeter({ process: false });
const metrics = createMetrics(meter, {
  knowsModel: () => true,
  quality: createQuality(),
  status: {
    engines: () => [],
    targets: () => [],
    budgets: () => [],
    responseCache: () => ({ entries: 0, bytes: 0, maxBytes: 0 }),
  },
});
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

test('every metric that an alert, a rule or the Grafana dashboard names is one that we expose', async () => {
  const exposed = new Set([...(await meter.expose()).matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1] ?? ''));
  const texts = [...prometheusFiles.map((file) => readFileSync(file, 'utf8')), ...expressions];
  const named = new Set(
    texts.flatMap((text) => text.match(/(?<![\w:])(tidegate_[a-z_]+|gen_ai_(server|client)_[a-z_]+)(?![\w:])/g) ?? []),
  );
  const unknown = [...named].filter(
    (name) => !exposed.has(name.replace(/_(bucket|sum|count)$/, '')) && !exposed.has(name),
  );
  expect(unknown).toEqual([]);
  expect(named.size).toBeGreaterThan(25);
});

test('the Grafana dashboard asks the data source that its user chose', () => {
  expect(dashboard.templating.list).toContainEqual(expect.objectContaining({ name: 'datasource', type: 'datasource' }));
  const others = dashboard.panels.filter(({ datasource }) => datasource && datasource.uid !== '${datasource}');
  expect(others).toEqual([]);
});

describe.skipIf(!promtool)('promtool', () => {
  const run = (...args: readonly string[]) => execFileSync(promtool ?? '', args, { encoding: 'utf8' });

  test('accepts the configuration and the rules, and the alerts fire when they should and only then', () => {
    expect(run('check', 'config', join(deploy, 'prometheus/prometheus.yml'))).toContain('SUCCESS');
    expect(run('test', 'rules', join(deploy, 'prometheus/alerts.test.yml'))).toContain('SUCCESS');
  });

  test('understands every expression of the Grafana dashboard', () => {
    const rules = expressions.map((expr, index) => ({
      record: `panel_${index}`,
      expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$__range', '1h').replaceAll('$model', '.*'),
    }));
    const file = join(mkdtempSync(join(tmpdir(), 'tidegate-grafana-')), 'panels.yml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules }] })); // JSON is YAML
    expect(run('check', 'rules', file)).toContain(`SUCCESS: ${rules.length} rules found`);
  });
});

const prometheus = promtool && join(dirname(promtool), 'prometheus');
describe.skipIf(!prometheus || !existsSync(prometheus))('a real Prometheus', () => {
  let child: ChildProcess | undefined;
  afterEach(() => child?.kill('SIGKILL'));

  test('scrapes us, and its rules have values', { timeout: 60_000 }, async () => {
    const server = createServer((_request, response) => {
      void meter.expose().then((text) => response.setHeader('content-type', meter.contentType).end(text));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo; // a TCP server's address
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-prometheus-'));
    const config = join(folder, 'prometheus.yml');
    const rules = readFileSync(join(deploy, 'prometheus/rules.yml'), 'utf8').replaceAll(/\[(5m|30m|1h|6h)\]/g, '[10s]');
    writeFileSync(join(folder, 'rules.yml'), rules);
    writeFileSync(
      config,
      `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [rules.yml]
scrape_configs: [{ job_name: tidegate, static_configs: [{ targets: ['127.0.0.1:${port}'] }] }]
`,
    );
    child = spawn(
      prometheus ?? '',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        '--web.listen-address=127.0.0.1:0',
        '--log.level=info',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let log = '';
    child.stderr?.on('data', (piece) => {
      log += String(piece);
    });
    await expect.poll(() => /Listening on" address=(\S+)/.exec(log)?.[1], { timeout: 20_000 }).toBeDefined();
    const address = /Listening on" address=(\S+)/.exec(log)?.[1];
    const query = async (expr: string): Promise<number | undefined> => {
      const response = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(expr)}`);
      const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } }; // Prometheus' API
      return data.result[0] && Number(data.result[0].value[1]);
    };
    const gateway = gatewayWith({ providers: [scripted('up', answerOf('a', 'b'))], sinks: [metrics.record] });
    const working = setInterval(() => {
      void gateway.stream(ask(), contextOf({ startedMs: performance.now() })).then(({ events }) => drain(events));
    }, 50);
    try {
      await expect
        .poll(() => query('model:tidegate_requests:rate5m'), { timeout: 30_000, interval: 500 })
        .toBeGreaterThan(1);
      await expect.poll(() => query('model:tidegate_ttft_slow:ratio_rate1h'), { timeout: 10_000 }).toBe(0);
      expect(await query('up')).toBe(1);
    } finally {
      clearInterval(working);
      server.close();
      server.closeAllConnections();
    }
  });
});

test('what is provisioned for Grafana is where its configuration looks', () => {
  expect(readdirSync(join(deploy, 'grafana/provisioning'))).toEqual(
    expect.arrayContaining(['dashboards', 'datasources']),
  );
});
