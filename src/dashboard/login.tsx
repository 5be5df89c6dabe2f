import { useState } from 'preact/hooks';
import { Problem } from './parts.tsx';

export function Login({ failed, onKey }: { failed: unknown; onKey: (key: string) => void }) {
  const [key, setKey] = useState('');
  return (
    <main class="login">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          onKey(key.trim());
        }}
      >
        <div class="brand">
          <img src="/ui/icon.svg" alt="" />
          <h1>Tidegate</h1>
        </div>
        <p class="lead">This gateway asks for a key. It stays in this tab and is forgotten when you close it.</p>
        <label class="field">
          <span>Key</span>
          <input
            type="password"
            name="key"
            autocomplete="off"
            placeholder="tg-…"
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
            required
          />
        </label>
        <Problem error={failed} />
        <button class="button primary" type="submit">
          Sign in
        </button>
        <p class="hint">
          An admin key shows everything: <code>tidegate keys create --role admin</code>
        </p>
      </form>
    </main>
  );
}
