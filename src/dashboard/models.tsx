import { useEffect, useRef, useState } from 'preact/hooks';
import type { ModelRow } from '../http/routes/dashboard.ts';
import { get, lines, post, publicModels } from './api.ts';
import { EngineNumbers, KvTiers } from './engine.tsx';
import { bytes, percent } from './format.ts';
import type { Me } from './me.ts';
import { Bar, Empty, messageOf, Page, Problem, useLoaded } from './parts.tsx';

/** Who is no admin sees only the names. */
type Row = Omit<ModelRow, 'state'> & { readonly state: ModelRow['state'] | 'configured' };

const refreshMs = 2000;

const load = async (me: Me, signal: AbortSignal): Promise<readonly Row[]> =>
  me.can['models']
    ? (await get<{ data: Row[] }>('/admin/models', signal)).data
    : (await publicModels()).map((name) => ({ name, state: 'configured', versions: [] }));

export function Models({ me }: { me: Me }) {
  const { value: rows, error, setValue } = useLoaded((signal) => load(me, signal), []);
  const [failure, setFailure] = useState<unknown>();
  const [busy, setBusy] = useState('');
  useEffect(() => {
    if (!me.can['models']) return;
    // What the engines say of themselves is out of date soon.
    const timer = setInterval(() => {
      if (document.hidden) return;
      load(me, new AbortController().signal).then(setValue, () => {});
    }, refreshMs);
    return () => clearInterval(timer);
  }, []);
  const act = async (path: string, body: object, name: string) => {
    setBusy(name);
    setFailure(undefined);
    try {
      setValue((await post<{ data: Row[] }>(path, body)).data);
    } catch (reason) {
      setFailure(reason);
    }
    setBusy('');
  };
  return (
    <Page title="Models">
      {me.can['pull'] && <Pull onDone={() => void load(me, new AbortController().signal).then(setValue, setFailure)} />}
      <Problem error={error ?? failure} />
      {rows?.length === 0 && (
        <div class="card">
          <Empty title="No models yet">Pull one above, or name one in tidegate.yaml.</Empty>
        </div>
      )}
      {rows?.map((row) => (
        <section class="card stack" aria-label={row.name} key={row.name}>
          <div class="row">
            <h2>{row.name}</h2>
            <span class={`badge ${row.state === 'ready' ? 'good' : row.state === 'failed' ? 'bad' : ''}`}>
              {row.state}
            </span>
            <span class="stats">
              {row.sizeBytes !== undefined && <span>{bytes(row.sizeBytes)}</span>}
              {row.detail && <span>{row.detail}</span>}
            </span>
            <span class="spacer" />
            {me.can['load'] && row.state === 'unloaded' && (
              <button
                type="button"
                class="button small"
                disabled={busy === row.name}
                onClick={() => void act('/admin/models/load', { model: row.name }, row.name)}
              >
                {busy === row.name ? 'Loading…' : 'Load'}
              </button>
            )}
            {me.can['unload'] && row.state === 'ready' && (
              <button
                type="button"
                class="button small"
                disabled={busy === row.name}
                onClick={() => void act('/admin/models/unload', { model: row.name }, row.name)}
              >
                Unload
              </button>
            )}
          </div>
          {row.engine && row.state === 'ready' && (
            <>
              <EngineNumbers engine={row.engine} />
              <KvTiers kv={row.engine.kv} />
            </>
          )}
          {row.versions.map((version) => (
            <Version
              key={version.target}
              version={version}
              many={row.versions.length > 1}
              onShare={
                me.can['share']
                  ? (share) =>
                      void act('/admin/models/share', { model: row.name, target: version.target, share }, row.name)
                  : undefined
              }
            />
          ))}
        </section>
      ))}
    </Page>
  );
}

interface VersionProps {
  readonly version: Row['versions'][number];
  readonly many: boolean;
  readonly onShare: ((share: number) => void) | undefined;
}

function Version({ version: { target, share, role, movable }, many, onShare }: VersionProps) {
  return (
    <div class="row">
      <span class="mono" style={{ flex: '1 1 200px' }}>
        {target}
      </span>
      {role && <span class="badge accent">{role}</span>}
      {many && (
        <>
          <div style={{ flex: '1 1 140px' }}>
            <Bar share={share} label={`Share of ${target}`} />
          </div>
          <span class="stats">{percent(share)}</span>
        </>
      )}
      {movable && onShare && (
        <>
          <button type="button" class="button small" disabled={share === 1} onClick={() => onShare(1)}>
            Promote
          </button>
          <button type="button" class="button small" disabled={share === 0} onClick={() => onShare(0)}>
            Roll back
          </button>
        </>
      )}
    </div>
  );
}

interface Progress {
  readonly done?: number;
  readonly total?: number;
  readonly status?: string;
  readonly message?: string;
}

function Pull({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState('');
  const [progress, setProgress] = useState<Progress>();
  const stop = useRef<AbortController>(null);
  const pulling = progress !== undefined && progress.status === undefined;
  const pull = async () => {
    stop.current = new AbortController();
    setProgress({});
    try {
      for await (const line of lines<Progress>('/admin/models/pull', { model: name }, stop.current.signal))
        setProgress(line);
      onDone();
    } catch (error) {
      setProgress(stop.current.signal.aborted ? undefined : { status: 'error', message: messageOf(error) });
    }
  };
  return (
    <form
      class="card stack"
      onSubmit={(event) => {
        event.preventDefault();
        void pull();
      }}
    >
      <div class="row">
        <input
          data-main-field
          aria-label="Model to pull"
          placeholder="Name of the catalogue, or hf:OWNER/REPO/FILE"
          style={{ flex: '1 1 260px', width: 'auto' }}
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
          required
        />
        {pulling ? (
          <button type="button" class="button" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        ) : (
          <button type="submit" class="button primary">
            Pull
          </button>
        )}
      </div>
      {pulling && (
        <div role="status" class="stats">
          <progress
            aria-label="Download"
            max={progress.total ?? 1}
            value={progress.total ? progress.done : undefined}
          />
          <span>
            {bytes(progress.done)} of {bytes(progress.total)}
          </span>
        </div>
      )}
      {progress?.status === 'success' && (
        <div class="notice good" role="status">
          The model is here.
        </div>
      )}
      {progress?.status === 'error' && <Problem error={progress.message} />}
    </form>
  );
}
