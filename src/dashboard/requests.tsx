import { useEffect, useState } from 'preact/hooks';
import type { RequestRecord } from '../core/record.ts';
import type { ExplainedToken } from '../observability/history.ts';
import { get, post } from './api.ts';
import { count, duration, money, none, time } from './format.ts';
import { Empty, Outcome, Page, Problem, Table, useLoaded } from './parts.tsx';
import { Tokens } from './tokens.tsx';

type Listed = RequestRecord & { readonly number: number };

export function Requests({ argument }: { argument?: string | undefined }) {
  return argument ? <OneRequest id={argument} /> : <RequestList />;
}

function RequestList() {
  const [text, setText] = useState('');
  const [outcome, setOutcome] = useState('');
  const [wanted, setWanted] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setWanted(text), 200);
    return () => clearTimeout(timer);
  }, [text]);
  const query = new URLSearchParams({ q: wanted, outcome, limit: '100' });
  const { value, error, setValue, again } = useLoaded(
    (signal) => get<{ data: Listed[] }>(`/admin/requests?${query}`, signal),
    [wanted, outcome],
  );
  const more = async () => {
    const last = value?.data.at(-1);
    if (!value || !last) return;
    const next = await get<{ data: Listed[] }>(`/admin/requests?${query}&before=${last.number}`);
    setValue({ data: [...value.data, ...next.data] });
  };
  return (
    <Page
      title="Requests"
      actions={
        <button type="button" class="button" onClick={again}>
          Refresh
        </button>
      }
    >
      <div class="row">
        <label class="field" style={{ flex: '1 1 220px' }}>
          <span class="hidden-visually">Search</span>
          <input
            type="search"
            data-main-field
            placeholder="Search model, target, caller, id…"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span class="hidden-visually">Outcome</span>
          <select value={outcome} onChange={(event) => setOutcome(event.currentTarget.value)}>
            <option value="">All outcomes</option>
            <option value="ok">Answered</option>
            <option value="failed">Failed</option>
            <option value="cancelled">Cancelled</option>
            <option value="rate_limited">Rate limited</option>
          </select>
        </label>
      </div>
      <Problem error={error} />
      {value && value.data.length === 0 ? (
        <div class="card">
          <Empty title="No requests here">The last two thousand are kept; nothing matches.</Empty>
        </div>
      ) : (
        <Table label="Requests">
          <thead>
            <tr>
              <th>When</th>
              <th>Model</th>
              <th>Answered by</th>
              <th>Outcome</th>
              <th class="num">First token</th>
              <th class="num">Total</th>
              <th class="num">Tokens</th>
              <th class="num">Cost</th>
            </tr>
          </thead>
          <tbody>
            {value?.data.map((record) => (
              <tr key={record.number} class="clickable">
                <td>
                  <a href={`#/requests/${encodeURIComponent(record.requestId)}`}>{time(record.startedAt)}</a>
                </td>
                <td>{record.model}</td>
                <td>{record.target ?? none}</td>
                <td>
                  <Outcome outcome={record.outcome} />
                </td>
                <td class="num">{duration(record.ttftMs)}</td>
                <td class="num">{duration(record.durationMs)}</td>
                <td class="num">
                  {record.usage
                    ? `${count(record.usage.promptTokens)} → ${count(record.usage.completionTokens)}`
                    : none}
                </td>
                <td class="num">{money(record.costUsd)}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
      {value && value.data.length >= 100 && (
        <button type="button" class="button" onClick={() => void more()}>
          Older
        </button>
      )}
    </Page>
  );
}

interface Explained extends RequestRecord {
  readonly tokens?: readonly ExplainedToken[];
  readonly confidence?: { readonly mean: number; readonly lowest: number };
}

function OneRequest({ id }: { id: string }) {
  const { value: record, error } = useLoaded(
    (signal) => get<Explained>(`/v1/explanations/${encodeURIComponent(id)}`, signal),
    [id],
  );
  const [given, setGiven] = useState<number>();
  const rate = async (score: number) => {
    await post('/v1/feedback', { response_id: id, score });
    setGiven(score);
  };
  return (
    <Page
      title="Request"
      actions={
        <a class="button" href="#/requests">
          All requests
        </a>
      }
    >
      <Problem error={error} />
      {record && (
        <>
          <div class="row">
            <code>{record.requestId}</code>
            <Outcome outcome={record.outcome} />
            <span class="spacer" />
            <span class="label">Was this a good answer?</span>
            <button type="button" class="button small" aria-pressed={given === 1} onClick={() => void rate(1)}>
              Yes
            </button>
            <button type="button" class="button small" aria-pressed={given === 0} onClick={() => void rate(0)}>
              No
            </button>
          </div>
          {record.errorMessage && <div class="notice bad">{record.errorMessage}</div>}
          <section class="card" aria-label="Timeline">
            <h2>Timeline</h2>
            <Timeline record={record} />
          </section>
          <div class="plots">
            <section class="card" aria-label="Facts">
              <h2>What it was</h2>
              <Facts record={record} />
            </section>
            <section class="card" aria-label="Decisions">
              <h2>What was decided</h2>
              <Decisions record={record} />
            </section>
          </div>
          {record.tokens && record.tokens.length > 0 && (
            <section class="card stack" aria-label="Tokens">
              <h2>Token by token</h2>
              <Tokens tokens={record.tokens} />
            </section>
          )}
        </>
      )}
    </Page>
  );
}

/** Bars from the request's first byte to its last. */
function Timeline({ record }: { record: RequestRecord }) {
  const total = Math.max(record.durationMs, 0.01);
  const rows: { name: string; from: number; to: number; kind: '' | 'bad' | 'second'; note?: string }[] = [];
  for (const { name, startedMs, durationMs } of record.stages) {
    const from = startedMs - record.startedMs;
    rows.push({ name: name.replaceAll('-', ' '), from, to: from + durationMs, kind: '' });
  }
  for (const { target, startedMs, durationMs, error } of record.attempts) {
    const from = startedMs - record.startedMs;
    rows.push({
      name: target,
      from,
      to: from + durationMs,
      kind: error ? 'bad' : '',
      ...(error && { note: error.kind }),
    });
  }
  const { usage, ttftMs } = record;
  let at = ttftMs === undefined ? 0 : Math.max(0, ttftMs - (usage?.prefillMs ?? 0) - (usage?.queueMs ?? 0));
  for (const [name, ms] of [
    ['queue', usage?.queueMs],
    ['reading the prompt', usage?.prefillMs],
  ] as const) {
    if (ms === undefined) continue;
    rows.push({ name, from: at, to: at + ms, kind: 'second' });
    at += ms;
  }
  if (ttftMs !== undefined) rows.push({ name: 'writing', from: ttftMs, to: total, kind: 'second' });
  return (
    <div class="timeline">
      {rows.map(({ name, from, to, kind, note }) => (
        <>
          <span>{name}</span>
          <span class="track">
            <i
              class={kind}
              style={{ left: `${(from / total) * 100}%`, width: `${(Math.max(0, to - from) / total) * 100}%` }}
            />
          </span>
          <span class="num">
            {note ? `${note.replaceAll('_', ' ')}, ` : ''}
            {duration(to - from)}
          </span>
        </>
      ))}
    </div>
  );
}

function Facts({ record }: { record: Explained }) {
  const { usage } = record;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['When', time(record.startedAt)],
    ['Endpoint', record.endpoint],
    ['Model', record.model],
    ['Answered by', record.target],
    ['Caller', record.team ? `${record.callerId} (${record.team})` : record.callerId],
    ['First token', duration(record.ttftMs)],
    ['Per token', duration(record.tpotMs)],
    ['Total', duration(record.durationMs)],
    ['Added by the gateway', duration(record.overheadMs)],
    [
      'Prompt tokens',
      usage &&
        `${count(usage.promptTokens)}${usage.cachedTokens ? `, ${count(usage.cachedTokens)} from the KV cache` : ''}`,
    ],
    ['Answer tokens', usage && count(usage.completionTokens)],
    ['Energy', usage?.energyJoules === undefined ? undefined : `${usage.energyJoules.toFixed(1)} J`],
    ['Cost', record.costUsd === undefined ? undefined : money(record.costUsd)],
    [
      'Confidence',
      record.confidence &&
        `${Math.round(record.confidence.mean * 100)} % on average, ${Math.round(record.confidence.lowest * 100)} % at least`,
    ],
    ['Finish', record.finishReasons.join(', ') || undefined],
    ['Prompt', record.prompt && [record.prompt.id, record.prompt.version].filter(Boolean).join(' ')],
    ['Trace', record.traceId],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) =>
        value === undefined ? null : (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        ),
      )}
    </dl>
  );
}

function Decisions({ record }: { record: RequestRecord }) {
  const rows = [
    { stage: 'response cache', name: record.cache, action: '' },
    ...record.attempts.map(({ target, error }) => ({
      stage: 'route',
      name: target,
      action: error ? `failed: ${error.message}` : 'answered',
    })),
    ...record.decisions.map(({ stage, name, action, detail }) => ({
      stage,
      name,
      action: detail ? `${action}: ${detail}` : action,
    })),
  ];
  return (
    <dl class="facts">
      {rows.map(({ stage, name, action }) => (
        <>
          <dt>{stage}</dt>
          <dd>
            <strong>{name}</strong> {action}
          </dd>
        </>
      ))}
    </dl>
  );
}
