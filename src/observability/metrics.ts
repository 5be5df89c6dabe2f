import type { FinishReason, Usage } from '../core/event.ts';
import type { RecordSink, RequestRecord } from '../core/record.ts';
import type { Status } from '../core/status.ts';
import { createInstruments } from './instruments.ts';
import { type Bound, type Meter, otherLabel } from './meter.ts';
import type { Quality } from './quality.ts';
import { observeDrift, observeStatus } from './status-metrics.ts';

/** More label sets than this in one process end up in one set called `_other`: a scrape stays small whatever is asked. */
const maxLabelSets = 500;

export interface Metrics {
  readonly record: RecordSink;
  readonly http: (request: HttpSample) => void;
  readonly feedback: (sample: { readonly model: string; readonly target: string; readonly score: number }) => void;
}

export interface HttpSample {
  /** The route's pattern, never the path as sent: `/v1/models/:model`. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
}

export interface MetricsOptions {
  /** Whether the configuration knows this public model name; others are counted together. */
  readonly knowsModel: (model: string) => boolean;
  readonly status?: Status;
  readonly quality?: Quality;
  readonly version?: string;
}

/** Counts each record, request and score; label sets are bound once, and bounded in number. */
export function createMetrics(
  meter: Meter,
  { knowsModel, status = {}, quality, version = 'unknown' }: MetricsOptions,
): Metrics {
  const {
    duration,
    ttft,
    tpot,
    firstChunk,
    tokens,
    requests,
    overhead,
    attempts,
    cache,
    decisions,
    finishes,
    spend,
    http,
    scores,
  } = createInstruments(meter);
  meter.scraped({
    name: 'tidegate_build_info',
    help: 'Always 1; the version is in the label.',
    labels: ['version'],
    kind: 'gauge',
    read: () => [{ labels: [version], value: 1 }],
  });
  observeStatus(meter, status);
  if (quality) observeDrift(meter, quality);

  const sets = new Map<string, (record: RequestRecord) => void>();
  const rare = bounded();
  /** Whoever answered where all went well counts like this with nearly every record of one set. */
  const countAttempts = (target: string) => {
    let answered: Bound | undefined;
    let began: Bound | undefined;
    return (tried: RequestRecord['attempts']) => {
      for (const { target: other, durationMs, error } of tried) {
        if (error) rare(attempts, [other, error.kind])(1);
        else if (other === target) {
          answered ??= rare(attempts, [target, 'ok']);
          began ??= rare(firstChunk, splitTarget(target));
          answered(1);
          began(durationMs / 1000);
        } else {
          rare(attempts, [other, 'ok'])(1);
          rare(firstChunk, splitTarget(other))(durationMs / 1000);
        }
      }
    };
  };
  const countFinishes = (model: string) => {
    let stopped: Bound | undefined;
    return (reasons: readonly FinishReason[]) => {
      for (const reason of reasons) {
        if (reason === 'stop') {
          stopped ??= rare(finishes, [model, 'stop']);
          stopped(1);
        } else rare(finishes, [model, reason])(1);
      }
    };
  };
  const bind = (record: RequestRecord): ((record: RequestRecord) => void) => {
    const model = knowsModel(record.model) ? record.model : otherLabel;
    const endpoint = record.endpoint;
    const target = record.target ?? '';
    const [provider, answered] = splitTarget(target);
    const ai = [operationOf(endpoint), provider, model, answered];
    const ok = record.outcome === 'ok';
    const requestsBound = requests([endpoint, model, record.outcome]);
    const overheadBound = overhead([endpoint]);
    const cacheBound = cache([model, record.cache]);
    const durationBound = duration([...ai, ok ? '' : record.outcome]);
    const [ttftBound, tpotBound, spendBound] = [ttft(ai), tpot(ai), spend([model, target, record.team ?? ''])];
    const input = tokens([...ai, 'input']);
    const output = tokens([...ai, 'output']);
    const cached = tokens([...ai, 'cached']);
    const attempted = countAttempts(target);
    const finished = countFinishes(model);
    return ({
      durationMs,
      overheadMs,
      ttftMs,
      tpotMs,
      usage,
      costUsd,
      attempts: tried,
      decisions: all,
      finishReasons,
    }) => {
      requestsBound(1);
      cacheBound(1);
      durationBound(durationMs / 1000);
      if (overheadMs !== undefined) overheadBound(overheadMs / 1000);
      if (ttftMs !== undefined) ttftBound(ttftMs / 1000);
      if (tpotMs !== undefined) tpotBound(tpotMs / 1000);
      if (usage) observeTokens(usage, input, output, cached);
      if (costUsd !== undefined && costUsd > 0) spendBound(costUsd);
      attempted(tried);
      finished(finishReasons);
      for (const { stage, name, action } of all) rare(decisions, [stage, name, action])(1);
    };
  };

  /** The set counted last: nearly all requests in a row are of one, and making its key costs more than counting. */
  let last:
    | { readonly of: RequestRecord; readonly known: string; readonly observe: (record: RequestRecord) => void }
    | undefined;
  const httpRoutes = new Map<string, Map<string, Map<number, Bound>>>();

  return {
    record(record) {
      const known = knowsModel(record.model) ? record.model : otherLabel;
      if (last?.known === known && isSameSet(last.of, record)) {
        last.observe(record);
        return;
      }
      const key = `${record.endpoint}|${known}|${record.target}|${record.outcome}|${record.cache}|${record.team}`;
      let observe = sets.get(key);
      if (!observe) {
        observe = bind(
          sets.size < maxLabelSets ? record : { ...record, model: otherLabel, target: otherLabel, team: otherLabel },
        );
        if (sets.size < maxLabelSets) sets.set(key, observe);
      }
      last = { of: record, known, observe };
      observe(record);
    },
    http({ route, method, status: code }) {
      const methods = own(httpRoutes, route, () => new Map<string, Map<number, Bound>>());
      const codes = own(methods, method, () => new Map<number, Bound>());
      own(codes, code, () => rare(http, [route, method, String(code)]))(1);
    },
    feedback: ({ model, target, score }) => rare(scores, [knowsModel(model) ? model : otherLabel, target])(score),
  };
}

const isSameSet = (a: RequestRecord, b: RequestRecord): boolean =>
  a.endpoint === b.endpoint &&
  a.target === b.target &&
  a.outcome === b.outcome &&
  a.cache === b.cache &&
  a.team === b.team;

/** The entry of that key, made where there is none. */
function own<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

const observeTokens = (
  { promptTokens, completionTokens, cachedTokens }: Usage,
  input: Bound,
  output: Bound,
  cached: Bound,
) => {
  input(promptTokens);
  output(completionTokens);
  if (cachedTokens) cached(cachedTokens);
};

/** Remembers bound label sets of each metric, and gives the one called `_other` when there are too many. */
function bounded() {
  const seen = new Map<(labels: readonly string[]) => Bound, Map<string, Bound>>();
  return (metric: (labels: readonly string[]) => Bound, labels: readonly string[]): Bound => {
    let sets = seen.get(metric);
    if (!sets) {
      sets = new Map();
      seen.set(metric, sets);
    }
    const key = labels.join('|');
    let bound = sets.get(key);
    if (!bound) {
      if (sets.size >= maxLabelSets) return metric(labels.map(() => otherLabel));
      bound = metric(labels);
      sets.set(key, bound);
    }
    return bound;
  };
}

/** `provider/model`, whose model may hold slashes of its own. */
export const splitTarget = (target: string): readonly [provider: string, model: string] => {
  const slash = target.indexOf('/');
  return slash < 0 ? [target, ''] : [target.slice(0, slash), target.slice(slash + 1)];
};

/** `gen_ai.operation.name` of an endpoint. */
export function operationOf(endpoint: string): string {
  if (endpoint.includes('embed')) return 'embeddings';
  if (endpoint.endsWith('/chat/completions') || endpoint.endsWith('/messages') || endpoint.endsWith('/responses'))
    return 'chat';
  if (/\/(?:completions?|infill|generate)$/.test(endpoint)) return 'text_completion';
  return endpoint.endsWith('/chat') ? 'chat' : endpoint.slice(endpoint.lastIndexOf('/') + 1) || 'chat';
}
