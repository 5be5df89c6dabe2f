import { useEffect, useRef, useState } from 'preact/hooks';
import type { EngineStatus, TargetStatus } from '../core/status.ts';
import type { LivePoint, LiveSnapshot } from '../observability/live.ts';
import { events } from './api.ts';
import { EngineNumbers, KvTiers } from './engine.tsx';
import { count, duration, percent, time } from './format.ts';
import { Bar, Empty, Page, Table, Tile } from './parts.tsx';
import { Plot } from './plot.tsx';

const shownSeconds = 180;

export function Live() {
  const [snapshot, setSnapshot] = useState<LiveSnapshot>();
  const [points, setPoints] = useState<readonly LivePoint[]>([]);
  const [up, setUp] = useState(false);
  const [paused, setPaused] = useState(false);
  const held = useRef(false);
  held.current = paused;

  useEffect(
    () =>
      events(
        '/admin/live',
        (name, data) => {
          if (held.current) return;
          if (name === 'history')
            setPoints((data as LivePoint[]).slice(-shownSeconds)); // our own event
          else {
            const next = data as LiveSnapshot; // our own event
            setSnapshot(next);
            setPoints((last) => [...last, next.point].slice(-shownSeconds));
          }
        },
        setUp,
      ),
    [],
  );

  const at = points.map((point) => point.at);
  const line = (pick: (point: LivePoint) => number | null) => points.map(pick);
  const now = snapshot?.point;
  const totals = snapshot?.totals;
  return (
    <Page
      title="Live"
      actions={
        <>
          <span class={`badge ${up ? 'good' : 'warn'}`} role="status">
            {paused ? 'paused' : up ? 'connected' : 'connecting…'}
          </span>
          <button type="button" class="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
            {paused ? 'Go on' : 'Pause'}
          </button>
        </>
      }
    >
      <dl class="tiles">
        <Tile name="In flight" value={count(now?.inFlight)} unit={now?.waiting ? `${now.waiting} waiting` : ''} />
        <Tile name="Tokens" value={count(now?.tokensPerSecond)} unit="/s" />
        <Tile name="Requests" value={count(now?.requestsPerSecond)} unit="/s" />
        <Tile name="First token p95" value={duration(now?.ttftP95)} />
        <Tile name="Token gap p95" value={duration(now?.itlP95)} />
        <Tile name="Answered" value={count(totals?.requests)} unit={totals?.failed ? `${totals.failed} failed` : ''} />
        <Tile
          name="From cache"
          value={percent(totals && totals.requests > 0 ? totals.cacheHits / totals.requests : null)}
        />
      </dl>
      <div class="plots">
        <Plot
          title="Tokens per second"
          at={at}
          series={[
            { label: 'written', color: '--plot-1', values: line((p) => p.tokensPerSecond) },
            { label: 'prompt', color: '--plot-3', values: line((p) => p.prefillPerSecond) },
          ]}
          format={count}
        />
        <Plot
          title="Time to first token"
          at={at}
          series={[
            { label: 'p50', color: '--plot-1', values: line((p) => p.ttftP50) },
            { label: 'p95', color: '--plot-2', values: line((p) => p.ttftP95) },
          ]}
          format={duration}
        />
        <Plot
          title="Gap between tokens"
          at={at}
          series={[
            { label: 'p50', color: '--plot-1', values: line((p) => p.itlP50) },
            { label: 'p95', color: '--plot-2', values: line((p) => p.itlP95) },
          ]}
          format={duration}
        />
        <Plot
          title="Requests under way"
          at={at}
          series={[
            { label: 'in flight', color: '--plot-1', values: line((p) => p.inFlight) },
            { label: 'waiting', color: '--plot-2', values: line((p) => p.waiting) },
          ]}
          format={count}
        />
      </div>
      {snapshot?.engines.map((engine) => (
        <Engine engine={engine} key={engine.model} />
      ))}
      {snapshot && snapshot.targets.length > 0 && <Targets targets={snapshot.targets} />}
      <InFlight requests={snapshot?.requests ?? []} />
    </Page>
  );
}

function Engine({ engine }: { engine: EngineStatus }) {
  const { model, state, slots, kv } = engine;
  return (
    <section class="card stack" aria-label={`Engine ${model}`}>
      <div class="row">
        <h2>{model}</h2>
        <span class={`badge ${state === 'ready' ? 'good' : state === 'failed' ? 'bad' : 'warn'}`}>{state}</span>
        <span class="spacer" />
        <EngineNumbers engine={engine} />
      </div>
      <ul class="slots">
        {slots.map((slot) => (
          <li class="slot" key={slot.id}>
            <div class="row">
              <strong>Slot {slot.id + 1}</strong>
              <span class={`badge ${slot.state === 'idle' ? '' : 'accent'}`}>{slot.state}</span>
            </div>
            <Bar
              share={slot.usedTokens / Math.max(1, slot.contextTokens)}
              prefix={slot.state === 'idle' ? 0 : slot.prefixTokens / Math.max(1, slot.contextTokens)}
              label={`KV fill of slot ${slot.id + 1}`}
            />
            <span class="stats">
              {count(slot.usedTokens)} of {count(slot.contextTokens)} tokens
            </span>
          </li>
        ))}
      </ul>
      <KvTiers kv={kv} />
    </section>
  );
}

const Targets = ({ targets }: { targets: readonly TargetStatus[] }) => (
  <Table label="Targets">
    <thead>
      <tr>
        <th>Target</th>
        <th>Breaker</th>
        <th>Health</th>
        <th class="num">In flight</th>
      </tr>
    </thead>
    <tbody>
      {targets.map(({ target, breaker, healthy, inFlight }) => (
        <tr key={target}>
          <td>{target}</td>
          <td>
            <span class={`badge ${breaker === 'closed' ? 'good' : breaker === 'open' ? 'bad' : 'warn'}`}>
              {breaker}
            </span>
          </td>
          <td>
            <span class={`badge ${healthy ? 'good' : 'bad'}`}>{healthy ? 'healthy' : 'unhealthy'}</span>
          </td>
          <td class="num">{inFlight}</td>
        </tr>
      ))}
    </tbody>
  </Table>
);

function InFlight({ requests }: { requests: LiveSnapshot['requests'] }) {
  if (requests.length === 0) {
    return (
      <div class="card">
        <Empty title="Nothing under way">Requests show up here while they are answered.</Empty>
      </div>
    );
  }
  return (
    <Table label="Requests under way">
      <thead>
        <tr>
          <th>Since</th>
          <th>Model</th>
          <th>Target</th>
          <th>Caller</th>
          <th>Doing</th>
          <th class="num">First token</th>
          <th class="num">Tokens</th>
        </tr>
      </thead>
      <tbody>
        {requests.map((request) => (
          <tr key={request.requestId}>
            <td>{time(request.startedAt)}</td>
            <td>{request.model}</td>
            <td>{request.target ?? '–'}</td>
            <td>{request.callerId}</td>
            <td>
              <span class="badge accent">{request.phase}</span>{' '}
              {request.phase !== 'writing' && request.promptTokens
                ? `${count(request.promptRead)} of ${count(request.promptTokens)} prompt tokens`
                : ''}
            </td>
            <td class="num">{duration(request.ttftMs)}</td>
            <td class="num">{count(request.tokens)}</td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}
