import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseConfig } from '../../src/config-text.ts';
import { python } from '../python.ts';

const manifest = 'deploy/kubernetes/tidegate.yaml';
const documents = parseAllDocuments(readFileSync(manifest, 'utf8')).map((document) => document.toJS());
const find = (kind: string) => documents.find((document) => document.kind === kind);

test('the manifests are YAML, one of each kind, and select each other', () => {
  expect(documents.map(({ kind }) => kind).sort()).toEqual(
    ['ConfigMap', 'Deployment', 'HorizontalPodAutoscaler', 'PodDisruptionBudget', 'Service'].sort(),
  );
  const labels = find('Deployment').spec.template.metadata.labels;
  expect(find('Service').spec.selector).toEqual(labels);
  expect(find('Deployment').spec.selector.matchLabels).toEqual(labels);
  expect(find('HorizontalPodAutoscaler').spec.scaleTargetRef.name).toBe(find('Deployment').metadata.name);
});

test('the configuration inside is one that the gateway takes, and drains before Kubernetes kills, and lets itself be scraped', async () => {
  const config = await parseConfig(find('ConfigMap').data['tidegate.yaml'], 'the manifest', {
    env: { TIDEGATE_KEY: 'tg-0123456789abcdef' },
  });
  const { metadata, spec: pod } = find('Deployment').spec.template;
  expect(config.server.drain / 1000 + 3).toBeLessThan(pod.terminationGracePeriodSeconds);
  expect(metadata.annotations['prometheus.io/scrape']).toBe('true'); // by somebody who has no key
  expect(config.observability.metrics.open).toBe(true);
});

test('probes, metrics and flags are ones that exist', () => {
  const [container] = find('Deployment').spec.template.spec.containers;
  const routes = readFileSync('src/http/app.ts', 'utf8');
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
    expect(routes).toContain(`'${container[probe].httpGet.path}'`);
  const rules = readFileSync('deploy/kubernetes/prometheus-adapter.yaml', 'utf8');
  for (const { pods } of find('HorizontalPodAutoscaler').spec.metrics) expect(rules).toContain(pods.metric.name);
  const serve = readFileSync('src/cli/serve.ts', 'utf8');
  const docker = readFileSync('deploy/docker/Dockerfile', 'utf8');
  for (const [flag] of docker.matchAll(/--(?:host|config|port)\b/g)) expect(serve).toContain(flag);
  for (const [, path] of docker.matchAll(/^COPY (?!--from)(\S+)/gm)) expect(existsSync(path ?? '')).toBe(true);
});

test('the image’s user owns the volume that it keeps models in', () => {
  const docker = readFileSync('deploy/docker/Dockerfile', 'utf8');
  const volume = /^VOLUME (\S+)$/m.exec(docker)?.[1] ?? 'none';
  const owned = docker.indexOf(`chown node:node ${volume}`);
  expect(owned).toBeGreaterThan(docker.lastIndexOf('FROM '));
  expect(owned).toBeLessThan(docker.indexOf('USER node'));
});

const validator = python('kubernetes_validate');
test.skipIf(!validator)('the manifests follow Kubernetes’ own schemas', () => {
  const { status, stdout, stderr } = spawnSync(validator ?? '', ['-m', 'kubernetes_validate', '--strict', manifest], {
    encoding: 'utf8',
  });
  expect({ status, output: stdout + stderr }).toMatchObject({ status: 0 });
});
