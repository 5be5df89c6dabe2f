import { useState } from 'preact/hooks';
import type { BudgetStatus } from '../core/status.ts';
import type { KeyView } from '../policy/key-admin.ts';
import { ApiError, get, post } from './api.ts';
import { day, money, none, percent } from './format.ts';
import { Bar, CopyButton, Dialog, Empty, Page, Problem, Table, useLoaded } from './parts.tsx';

export function Keys() {
  const { value, error, again } = useLoaded((signal) => get<{ data: KeyView[] }>('/admin/keys', signal), []);
  const [making, setMaking] = useState(false);
  const [secret, setSecret] = useState<string>();
  const [failure, setFailure] = useState<unknown>();
  const [leaving, setLeaving] = useState<KeyView>();
  const off = error instanceof ApiError && error.status === 404;
  const revoke = async (key: KeyView) => {
    setLeaving(undefined);
    try {
      await post(`/admin/keys/${encodeURIComponent(key.id)}`, {}, 'DELETE');
      again();
    } catch (reason) {
      setFailure(reason);
    }
  };
  return (
    <Page
      title="Keys and budgets"
      actions={
        !off && (
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            New key
          </button>
        )
      }
    >
      {off ? (
        <div class="card">
          <Empty title="This gateway keeps no keys">
            Everybody who reaches it may use it. Set <code>ledger.url</code> to keep keys and budgets.
          </Empty>
        </div>
      ) : (
        <Problem error={error ?? failure} />
      )}
      {value && value.data.length === 0 && (
        <div class="card">
          <Empty title="No keys yet">The gateway is open until you make the first one. Make that an admin key.</Empty>
        </div>
      )}
      {value && value.data.length > 0 && (
        <Table label="Keys">
          <thead>
            <tr>
              <th>Name</th>
              <th>Key</th>
              <th>Role</th>
              <th>Team</th>
              <th>Models</th>
              <th>Spent</th>
              <th>Made</th>
              <th>Expires</th>
              <th>
                <span class="hidden-visually">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {value.data.map((key) => (
              <tr key={key.id}>
                <td>{key.name}</td>
                <td class="mono">{key.hint ?? key.id}</td>
                <td>
                  <span class={`badge ${key.role === 'admin' ? 'accent' : ''}`}>{key.role}</span>
                </td>
                <td>{key.team ?? none}</td>
                <td>{key.models?.join(', ') ?? 'all'}</td>
                <td>{money(key.spentUsd)}</td>
                <td>{day(key.createdAt)}</td>
                <td>{day(key.expiresAt)}</td>
                <td class="num">
                  {key.revokedAt !== undefined ? (
                    <span class="badge bad">revoked</span>
                  ) : (
                    <button type="button" class="button danger small" onClick={() => setLeaving(key)}>
                      Revoke
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
      <Budgets keys={value?.data ?? []} />
      {making && (
        <NewKey
          onClose={() => setMaking(false)}
          onMade={(made) => {
            setMaking(false);
            setSecret(made);
            again();
          }}
        />
      )}
      {secret && (
        <Dialog title="The new key" onClose={() => setSecret(undefined)}>
          <p class="lead">Copy it now: it is stored as a hash and cannot be shown again.</p>
          <pre class="block" style={{ margin: '12px 0' }}>
            {secret}
          </pre>
          <CopyButton text={secret} label="Copy the key" />
        </Dialog>
      )}
      {leaving && (
        <Dialog title={`Revoke ${leaving.name}?`} onClose={() => setLeaving(undefined)}>
          <p class="lead">Whoever uses it is refused within seconds. This cannot be undone.</p>
          <button
            type="button"
            class="button danger"
            style={{ marginTop: '12px' }}
            onClick={() => void revoke(leaving)}
          >
            Revoke the key
          </button>
        </Dialog>
      )}
    </Page>
  );
}

/** What has been spent of each budget in its period. Those that nothing has touched since the start are not known. */
function Budgets({ keys }: { keys: readonly KeyView[] }) {
  const { value } = useLoaded((signal) => get<{ budgets: BudgetStatus[] }>('/admin/status', signal), []);
  if (!value || value.budgets.length === 0) return null;
  return (
    <>
      <h2>Budgets</h2>
      <Table label="Budgets">
        <thead>
          <tr>
            <th>Budget</th>
            <th>Of</th>
            <th class="num">Spent</th>
            <th class="num">Limit</th>
            <th>Share</th>
          </tr>
        </thead>
        <tbody>
          {value.budgets.map(({ budget = none, owner, usedUsd, limitUsd }) => (
            <tr key={`${budget}:${owner}`}>
              <td>{budget}</td>
              <td>{owner === budget ? 'all' : (keys.find(({ id }) => id === owner)?.name ?? owner)}</td>
              <td class="num">{money(usedUsd)}</td>
              <td class="num">{money(limitUsd)}</td>
              <td>
                <Bar share={usedUsd / limitUsd} label={`Spent of ${budget}: ${percent(usedUsd / limitUsd)}`} />
              </td>
            </tr>
          ))}
        </tbody>
      </Table>
    </>
  );
}

function NewKey({ onClose, onMade }: { onClose: () => void; onMade: (secret: string) => void }) {
  const [failure, setFailure] = useState<unknown>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement); // the form below
    const text = (name: string) => String(form.get(name) ?? '').trim();
    const list = text('models')
      .split(/[\s,]+/)
      .filter(Boolean);
    try {
      const made = await post<{ key: string }>('/admin/keys', {
        name: text('name'),
        role: text('role'),
        ...(text('team') && { team: text('team') }),
        ...(list.length > 0 && { models: list }),
      });
      onMade(made.key);
    } catch (reason) {
      setFailure(reason);
    }
  };
  return (
    <Dialog title="New key" onClose={onClose}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <label class="field">
          <span>Name</span>
          <input name="name" placeholder="What it is for" required />
        </label>
        <div class="grid-2">
          <label class="field">
            <span>Role</span>
            <select name="role">
              <option value="caller">caller</option>
              <option value="admin">admin</option>
            </select>
          </label>
          <label class="field">
            <span>Team</span>
            <input name="team" placeholder="none" />
          </label>
        </div>
        <label class="field">
          <span>Models</span>
          <input name="models" placeholder="all" />
          <small>Names with commas between them; empty allows all.</small>
        </label>
        <Problem error={failure} />
        <button type="submit" class="button primary">
          Make the key
        </button>
      </form>
    </Dialog>
  );
}
