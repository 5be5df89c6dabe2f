import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api.ts';

export function Page({
  title,
  actions,
  children,
}: {
  title: string;
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <div class="page">
      <div class="page-head">
        <h1>{title}</h1>
        <span class="spacer" />
        {actions}
      </div>
      {children}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

export function Problem({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <div class="notice bad" role="alert">
      {messageOf(error)}
    </div>
  );
}

export const messageOf = (error: unknown): string =>
  error instanceof ApiError || error instanceof Error ? error.message : String(error);

export function Bar({ share, prefix = 0, label }: { share: number; prefix?: number; label: string }) {
  const width = (value: number) => ({ width: `${Math.min(100, Math.max(0, value * 100))}%` });
  return (
    // biome-ignore lint/a11y/useSemanticElements: a <meter> cannot show two values
    <div
      class="bar"
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
    >
      <i style={width(share)} />
      {prefix > 0 && <i class="prefix" style={width(prefix)} />}
    </div>
  );
}

export function Tile({ name, value, unit }: { name: string; value: string; unit?: string }) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        {value}
        {unit && <small>{unit}</small>}
      </dd>
    </div>
  );
}

const outcomeClass = (outcome: string) => (outcome === 'ok' ? 'good' : outcome === 'cancelled' ? '' : 'bad');
export const Outcome = ({ outcome }: { outcome: string }) => (
  <span class={`badge ${outcomeClass(outcome)}`}>{outcome.replaceAll('_', ' ')}</span>
);

/** A table that may be wider than the page: it scrolls in its own region, also by keyboard. */
export const Table = ({ label, children }: { label: string; children: ComponentChildren }) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
  <section class="table-wrap" aria-label={label} tabIndex={0}>
    <table>{children}</table>
  </section>
);

/** A native modal dialog: focus stays inside and Escape closes it. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  // Before it can be seen or asked for a key: an Escape that comes first would be nobody's.
  useLayoutEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} onClose={onClose} aria-label={title}>
      <h2>{title}</h2>
      {children}
      <div class="row" style={{ marginTop: '16px', justifyContent: 'flex-end' }}>
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}

export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  return (
    <button
      type="button"
      class="button small"
      onClick={async () => {
        await navigator.clipboard?.writeText(text).catch(() => {});
        setDone(true);
        setTimeout(() => setDone(false), 1500);
      }}
    >
      <span aria-live="polite">{done ? 'Copied' : label}</span>
    </button>
  );
}

/** What `load` gives, loaded again whenever `keys` change or `again` is called. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: readonly unknown[]) {
  const [value, setValue] = useState<T>();
  const [error, setError] = useState<unknown>();
  const [round, setRound] = useState(0);
  useEffect(() => {
    const left = new AbortController();
    load(left.signal).then(
      (loaded) => {
        if (left.signal.aborted) return;
        setValue(loaded);
        setError(undefined);
      },
      (reason) => left.signal.aborted || setError(reason),
    );
    return () => left.abort();
  }, [...keys, round]);
  return { value, error, setValue, again: () => setRound((last) => last + 1) };
}
