import type { FinishReason, Usage } from '../core/event.ts';
import type { RecordSink, RequestRecord } from '../core/record.ts';
import type { Status } from '../core/status.ts';
import { type Bound, type Meter, otherLabel } from './meter.ts';
import type { Quality } from './quality.ts';
import { observeDrift, observeStatus } from './status-metrics.ts';

/** Seconds. The OpenTelemetry GenAI conventions' own boundaries. */
const requestBuckets = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const ttftBuckets = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const tpotBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const overheadBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
const tokenBuckets = Array.from({ length: 14 }, (_, power) => 4 ** power);

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

/** All that is counted, under OpenTelemetry's names in Prometheus spelling; ours alone start with `tidegate_`. */
export function createMetrics(
  meter: Meter,
  { knowsModel, status = {}, quality, version = 'unknown' }: MetricsOptions,
): Metrics {
  const genAi = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model', 'gen_ai_response_model'];
  const duration = meter.histogram({
    name: 'gen_ai_server_request_duration_seconds',
    help: 'Request in to last byte out.',
    labels: [...genAi, 'error_type'],
    buckets: requestBuckets,
  });
  const ttft = meter.histogram({
    name: 'gen_ai_server_time_to_first_token_seconds',
    help: 'Request in to first token out.',
    labels: genAi,
    buckets: ttftBuckets,
  });
  const tpot = meter.histogram({
    name: 'gen_ai_server_time_per_output_token_seconds',
    help: 'Time per token after the first, per request.',
    labels: genAi,
    buckets: tpotBuckets,
  });
  const firstChunk = meter.histogram({
    name: 'gen_ai_client_operation_time_to_first_chunk_seconds',
    help: 'Call of an upstream or engine to its first event.',
    labels: ['gen_ai_provider_name', 'gen_ai_response_model'],
    buckets: ttftBuckets,
  });
  const tokens = meter.histogram({
    name: 'gen_ai_client_token_usage',
    help: 'Tokens per request.',
    labels: [...genAi, 'gen_ai_token_type'],
    buckets: tokenBuckets,
  });
  const requests = meter.counter({
    name: 'tidegate_requests_total',
    help: 'Ended requests by outcome: ok, cancelled, or the kind of error.',
    labels: ['endpoint', 'model', 'outcome'],
  });
  const overhead = meter.histogram({
    name: 'tidegate_overhead_seconds',
    help: 'Time that the gateway itself added before the answer began.',
    labels: ['endpoint'],
    buckets: overheadBuckets,
  });
  const attempts = meter.counter({
    name: 'tidegate_attempts_total',
    help: 'Calls of targets by outcome.',
    labels: ['target', 'outcome'],
  });
  const cache = meter.counter({
    name: 'tidegate_response_cache_total',
    help: 'Requests by what the response cache did.',
    labels: ['model', 'status'],
  });
  const decisions = meter.counter({
    name: 'tidegate_decisions_total',
    help: 'What filters, routing and limits decided.',
    labels: ['stage', 'name', 'action'],
  });
  const finishes = meter.counter({
    name: 'tidegate_finish_reasons_total',
    help: 'Choices by why they ended.',
    labels: ['model', 'reason'],
  });
  const spend = meter.counter({
    name: 'tidegate_spend_usd_total',
    help: 'US dollars spent at targets whose price is known.',
    labels: ['model', 'target', 'team'],
  });
  const http = meter.counter({
    name: 'tidegate_http_requests_total',
    help: 'Answered HTTP requests.',
    labels: ['route', 'method', 'code'],
  });
  const scores = meter.histogram({
    name: 'tidegate_feedback_score',
    help: 'Scores that people gave to answers, 0 to 1.',
    labels: ['model', 'target'],
    buckets: [0, 0.25, 0.5, 0.75, 1],
  });
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
  if (endpoint.endsWith('/completions') || endpoint.endsWith('/generate')) return 'text_completion';
  return endpoint.endsWith('/chat') ? 'chat' : endpoint.slice(endpoint.lastIndexOf('/') + 1) || 'chat';
}
