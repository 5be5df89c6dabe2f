import type { TokenLogprob } from '../core/event.ts';
import type { RecordSink, RequestRecord, Watcher } from '../core/record.ts';

/** What is known of one ended request, for a person who asks about it. */
export interface Explanation {
  readonly record: RequestRecord;
  /** The answer's tokens with their probabilities; only where the request asked for it to be kept. */
  readonly tokens?: readonly ExplainedToken[];
}

export interface ExplainedToken {
  readonly token: string;
  /** 0..1 */
  readonly probability: number;
  readonly alternatives: readonly { readonly token: string; readonly probability: number }[];
}

export interface HistoryQuery {
  /** Found in ids, model, target, caller, outcome or endpoint. */
  readonly text?: string;
  readonly model?: string;
  readonly outcome?: string;
  readonly callerId?: string;
  /** Only requests that began before this one's number. */
  readonly before?: number;
  readonly limit?: number;
}

export interface History {
  readonly sink: RecordSink;
  /** Keeps token probabilities of the requests that ask for it (`x-tidegate-explain: tokens`). */
  readonly watch: Watcher;
  /** Newest first, each with its running number. */
  find(query: HistoryQuery): readonly { readonly number: number; readonly record: RequestRecord }[];
  /** By request id, by an answer's id with or without its prefix, or by the upstream's id. */
  get(id: string): Explanation | undefined;
}

const maxTokens = 4096;
const maxExplained = 200;
/** Under load, how far back the last requests reach at least. */
const lookBackSeconds = 20;
const leastPerSecond = 100;

/**
 * The last `size` requests in memory. Where more of them end well than would fill it in `lookBackSeconds`, it keeps an even
 * share of those: all of them would be no more than the last moment, and moving them was half of all garbage collection.
 * Holds no prompts; tokens of answers only where the client asked for that.
 */
export function createHistory({ size = 2000 }: { readonly size?: number } = {}): History {
  const ring: RequestRecord[] = [];
  const explained = new Map<string, readonly ExplainedToken[]>();
  let count = 0;
  const perSecond = Math.max(size / lookBackSeconds, leastPerSecond);
  const mostRoom = perSecond * lookBackSeconds;
  let room = mostRoom;
  let lastMs = 0;

  const takeRoom = (nowMs: number): boolean => {
    room = Math.min(mostRoom, room + (Math.max(0, nowMs - lastMs) / 1000) * perSecond);
    lastMs = nowMs;
    if (room < 1) return false;
    room -= 1;
    return true;
  };

  /** The newest of that id. Looked for one by one: somebody asks now and then, and an index would be kept for every request. */
  const recordOf = (...ids: readonly string[]): RequestRecord | undefined => {
    for (let number = count - 1; number >= Math.max(0, count - size); number--) {
      const record = ring[number % size];
      if (!record) continue;
      const { requestId, answerId, upstreamId } = record;
      for (const id of ids) if (id === requestId || id === answerId || id === upstreamId) return record;
    }
    return undefined;
  };

  return {
    sink(record) {
      if (record.outcome === 'ok' && !takeRoom(record.startedMs + record.durationMs)) return;
      // A copy: where records live long, V8 soon makes all of them among the old, those too that nobody keeps.
      ring[count % size] = copyOf(record);
      count++;
    },
    watch(request, { requestId, headers }) {
      if (!request.logprobs || headers['x-tidegate-explain'] !== 'tokens') return undefined;
      const tokens: ExplainedToken[] = [];
      return {
        event(event) {
          if (event.type !== 'text-delta' || event.choice !== 0 || !event.logprobs) return;
          for (const token of event.logprobs) if (tokens.length < maxTokens) tokens.push(explain(token));
        },
        ended() {
          explained.set(requestId, tokens);
          for (const oldest of explained.keys()) {
            if (explained.size <= maxExplained) break;
            explained.delete(oldest);
          }
        },
      };
    },
    find({ text, model, outcome, callerId, before = count, limit = 100 }) {
      const wanted = text?.toLowerCase();
      const found: { number: number; record: RequestRecord }[] = [];
      for (let number = Math.min(before, count) - 1; number >= Math.max(0, count - size); number--) {
        const record = ring[number % size];
        if (!record || found.length >= limit) break;
        if (model !== undefined && record.model !== model) continue;
        if (outcome !== undefined && !matchesOutcome(record, outcome)) continue;
        if (callerId !== undefined && record.callerId !== callerId) continue;
        if (wanted && !searchable(record).includes(wanted)) continue;
        found.push({ number, record });
      }
      return found;
    },
    get(id) {
      const record = recordOf(id, id.replace(/^(chatcmpl|cmpl|resp|msg|gen)[-_]/, ''));
      if (!record) return undefined;
      const tokens = explained.get(record.requestId);
      return { record, ...(tokens && { tokens }) };
    },
  };
}

const matchesOutcome = (record: RequestRecord, wanted: string) =>
  wanted === 'failed' ? record.outcome !== 'ok' && record.outcome !== 'cancelled' : record.outcome === wanted;

const searchable = ({ requestId, answerId, model, target, callerId, team, outcome, endpoint }: RequestRecord) =>
  [requestId, answerId, model, target, callerId, team, outcome, endpoint].join(' ').toLowerCase();

const explain = ({ token, logprob, top }: TokenLogprob): ExplainedToken => ({
  token,
  probability: Math.exp(logprob),
  alternatives: top.map((other) => ({ token: other.token, probability: Math.exp(other.logprob) })),
});

/** As deep as it goes; a tenth of what `structuredClone` takes, and after a rest two thousand are made at once. */
function copyOf<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf) as T; // of the same items
  const copy = { ...value };
  for (const key in copy) if (typeof copy[key] === 'object') copy[key] = copyOf(copy[key]);
  return copy;
}
