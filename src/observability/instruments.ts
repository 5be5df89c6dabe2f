import type { Meter } from './meter.ts';

/** Seconds. The OpenTelemetry GenAI conventions' own boundaries. */
const requestBuckets = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const ttftBuckets = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const tpotBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const overheadBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
const tokenBuckets = Array.from({ length: 14 }, (_, power) => 4 ** power);

/** What every request of a model is told apart by. */
const genAi = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model', 'gen_ai_response_model'];

/** All that is counted, under OpenTelemetry's names in Prometheus spelling; ours alone start with `tidegate_`. */
export function createInstruments(meter: Meter) {
  return {
    duration: meter.histogram({
      name: 'gen_ai_server_request_duration_seconds',
      help: 'Request in to last byte out.',
      labels: [...genAi, 'error_type'],
      buckets: requestBuckets,
    }),
    ttft: meter.histogram({
      name: 'gen_ai_server_time_to_first_token_seconds',
      help: 'Request in to first token out.',
      labels: genAi,
      buckets: ttftBuckets,
    }),
    tpot: meter.histogram({
      name: 'gen_ai_server_time_per_output_token_seconds',
      help: 'Time per token after the first, per request.',
      labels: genAi,
      buckets: tpotBuckets,
    }),
    firstChunk: meter.histogram({
      name: 'gen_ai_client_operation_time_to_first_chunk_seconds',
      help: 'Call of an upstream or engine to its first event.',
      labels: ['gen_ai_provider_name', 'gen_ai_response_model'],
      buckets: ttftBuckets,
    }),
    tokens: meter.histogram({
      name: 'gen_ai_client_token_usage',
      help: 'Tokens per request.',
      labels: [...genAi, 'gen_ai_token_type'],
      buckets: tokenBuckets,
    }),
    requests: meter.counter({
      name: 'tidegate_requests_total',
      help: 'Ended requests by outcome: ok, cancelled, or the kind of error.',
      labels: ['endpoint', 'model', 'outcome'],
    }),
    overhead: meter.histogram({
      name: 'tidegate_overhead_seconds',
      help: 'Time that the gateway itself added before the answer began.',
      labels: ['endpoint'],
      buckets: overheadBuckets,
    }),
    attempts: meter.counter({
      name: 'tidegate_attempts_total',
      help: 'Calls of targets by outcome.',
      labels: ['target', 'outcome'],
    }),
    cache: meter.counter({
      name: 'tidegate_response_cache_total',
      help: 'Requests by what the response cache did.',
      labels: ['model', 'status'],
    }),
    decisions: meter.counter({
      name: 'tidegate_decisions_total',
      help: 'What filters, routing and limits decided.',
      labels: ['stage', 'name', 'action'],
    }),
    finishes: meter.counter({
      name: 'tidegate_finish_reasons_total',
      help: 'Choices by why they ended.',
      labels: ['model', 'reason'],
    }),
    spend: meter.counter({
      name: 'tidegate_spend_usd_total',
      help: 'US dollars spent at targets whose price is known.',
      labels: ['model', 'target', 'team'],
    }),
    http: meter.counter({
      name: 'tidegate_http_requests_total',
      help: 'Answered HTTP requests.',
      labels: ['route', 'method', 'code'],
    }),
    scores: meter.histogram({
      name: 'tidegate_feedback_score',
      help: 'Scores that people gave to answers, 0 to 1.',
      labels: ['model', 'target'],
      buckets: [0, 0.25, 0.5, 0.75, 1],
    }),
  };
}
