import { useEffect, useState } from 'preact/hooks';
import type { Tried } from '../filters/try.ts';
import { post, publicModels } from './api.ts';
import type { Me } from './me.ts';
import { Empty, Page, Problem } from './parts.tsx';

const example =
  'Please write to jane.doe@example.org or call +49 30 1234567. My key is sk-abcdefghijklmnopqrstuvwxyz123456.';

export function Filters({ me }: { me: Me }) {
  const [models, setModels] = useState<readonly string[]>([]);
  const [model, setModel] = useState('');
  const [side, setSide] = useState<'input' | 'output'>('output');
  const [text, setText] = useState(example);
  const [tried, setTried] = useState<Tried>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    void publicModels().then((found) => {
      setModels(found);
      setModel(found[0] ?? '');
    }, setError);
  }, []);
  const attempt = async () => {
    setError(undefined);
    try {
      setTried(await post<Tried>('/admin/filters/try', { model, side, text }));
    } catch (reason) {
      setError(reason);
    }
  };
  if (!me.can['filters']) {
    return (
      <Page title="Filters">
        <div class="card">
          <Empty title="No filters here">
            Name some under <code>filters:</code> in tidegate.yaml and list them in a model’s route.
          </Empty>
        </div>
      </Page>
    );
  }
  return (
    <Page title="Filters">
      <p class="lead">
        Try a text against the filters of a model’s route, as a prompt or as an answer that comes in one character at a
        time.
      </p>
      <form
        class="card stack"
        onSubmit={(event) => {
          event.preventDefault();
          void attempt();
        }}
      >
        <label class="field">
          <span>Text</span>
          <textarea data-main-field rows={5} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
        <div class="row">
          <label class="field">
            <span>Model</span>
            <select value={model} onChange={(event) => setModel(event.currentTarget.value)}>
              {models.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <label class="field">
            <span>As</span>
            <select
              value={side}
              onChange={(event) => setSide(event.currentTarget.value === 'input' ? 'input' : 'output')}
            >
              <option value="output">an answer</option>
              <option value="input">a prompt</option>
            </select>
          </label>
          <span class="spacer" />
          <button type="submit" class="button primary" style={{ alignSelf: 'flex-end' }}>
            Try
          </button>
        </div>
      </form>
      <Problem error={error} />
      {tried && (
        <section class="card stack" aria-label="Result" role="status">
          <h2>What comes through</h2>
          {tried.blocked ? (
            <div class="notice bad">{tried.blocked}</div>
          ) : (
            <pre class="block">{tried.output || '(nothing)'}</pre>
          )}
          <div class="stats">
            <span>At most {tried.heldMost} characters were held back at once.</span>
            {tried.output === text && !tried.blocked && <span class="badge good">unchanged</span>}
          </div>
          {tried.decisions.length > 0 && (
            <dl class="facts">
              {tried.decisions.map(({ name, action, detail }) => (
                <>
                  <dt>{name}</dt>
                  <dd>
                    <strong>{action}</strong> {detail}
                  </dd>
                </>
              ))}
            </dl>
          )}
        </section>
      )}
    </Page>
  );
}
