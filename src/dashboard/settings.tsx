import { useState } from 'preact/hooks';
import type { SettingProblem, ShownSettings } from '../http/routes/dashboard.ts';
import { get, post } from './api.ts';
import type { Me } from './me.ts';
import { CopyButton, Empty, Page, Problem, Table, useLoaded } from './parts.tsx';
import { applyTheme, currentTheme, type Theme } from './theme.ts';

export function Settings({ me }: { me: Me }) {
  return (
    <Page title="Settings">
      <Appearance />
      {me.can['settings'] ? (
        <Configuration />
      ) : (
        <div class="card">
          <Empty title="Configuration is not shown here" />
        </div>
      )}
    </Page>
  );
}

function Appearance() {
  const [theme, setTheme] = useState<Theme>(currentTheme);
  return (
    <section class="card row" aria-label="Appearance">
      <h2 style={{ margin: 0 }}>Colours</h2>
      <span class="spacer" />
      {(['system', 'light', 'dark'] as const).map((name) => (
        <button
          type="button"
          class={`button small ${theme === name ? 'primary' : ''}`}
          aria-pressed={theme === name}
          key={name}
          onClick={() => {
            applyTheme(name);
            setTheme(name);
          }}
        >
          {name}
        </button>
      ))}
    </section>
  );
}

function Configuration() {
  const { value, error } = useLoaded((signal) => get<ShownSettings>('/admin/settings', signal), []);
  const [draft, setDraft] = useState<string>();
  const [findings, setFindings] = useState<readonly SettingProblem[]>();
  const [failure, setFailure] = useState<unknown>();
  const [search, setSearch] = useState('');
  const check = async () => {
    try {
      setFindings(
        (await post<{ problems: SettingProblem[] }>('/admin/settings/check', { text: draft ?? value?.text ?? '' }))
          .problems,
      );
    } catch (reason) {
      setFailure(reason);
    }
  };
  const shown = value?.values.filter(({ path, value: text }) =>
    `${path} ${text}`.toLowerCase().includes(search.toLowerCase()),
  );
  return (
    <>
      <Problem error={error ?? failure} />
      {value && (
        <>
          <section class="card stack" aria-label="Check a configuration">
            <div class="row">
              <h2>{value.file ?? 'No tidegate.yaml: all defaults'}</h2>
              <span class="spacer" />
              <CopyButton text={draft ?? value.text} />
              <button type="button" class="button primary small" onClick={() => void check()}>
                Check
              </button>
            </div>
            <p class="lead">
              Try changes here; this only checks them. Save them in the file, which is read again when it changes.
            </p>
            <textarea
              class="code"
              rows={12}
              spellcheck={false}
              aria-label="Configuration"
              value={draft ?? value.text}
              onInput={(event) => {
                setDraft(event.currentTarget.value);
                setFindings(undefined);
              }}
            />
            {findings && (
              <div role="status" class="stack">
                {findings.length === 0 ? (
                  <div class="notice good">This configuration is valid.</div>
                ) : (
                  findings.map(({ line, path, message }) => (
                    <div class="notice bad" key={path + message}>
                      {line !== undefined && <strong>line {line} </strong>}
                      <code>{path}</code> {message}
                    </div>
                  ))
                )}
              </div>
            )}
          </section>
          <section class="stack" aria-label="Effective values">
            <div class="row">
              <h2>What is in force</h2>
              <span class="spacer" />
              <input
                type="search"
                data-main-field
                aria-label="Search settings"
                placeholder="Search settings"
                style={{ width: '240px' }}
                value={search}
                onInput={(event) => setSearch(event.currentTarget.value)}
              />
            </div>
            <Table label="Values in force">
              <thead>
                <tr>
                  <th>Setting</th>
                  <th>Value</th>
                  <th>From</th>
                </tr>
              </thead>
              <tbody>
                {shown?.map(({ path, value: text, origin }) => (
                  <tr key={path}>
                    <td class="mono">{path}</td>
                    <td class="mono">{text}</td>
                    <td>
                      <span class={`badge ${origin === 'default' ? '' : 'accent'}`}>{origin}</span>
                    </td>
                  </tr>
                ))}
              </tbody>
            </Table>
          </section>
        </>
      )}
    </>
  );
}
