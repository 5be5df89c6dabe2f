import type { SignalReport, VersionReport } from '../observability/quality.ts';
import { get } from './api.ts';
import { count, none, percent } from './format.ts';
import { Empty, Page, Problem, useLoaded } from './parts.tsx';

const verdictClass = { steady: 'good', moved: 'warn', drifted: 'bad', gathering: '' } as const;

export function Quality() {
  const { value, error, again } = useLoaded(
    (signal) => get<{ versions: VersionReport[] }>('/admin/quality', signal),
    [],
  );
  return (
    <Page
      title="Quality"
      actions={
        <button type="button" class="button" onClick={again}>
          Refresh
        </button>
      }
    >
      <p class="lead">
        How prompts and answers of each version are distributed now (dark) against its first requests (light), and how
        far apart they are.
      </p>
      <Problem error={error} />
      {value?.versions.length === 0 && (
        <div class="card">
          <Empty title="No answers yet">Distributions grow with the traffic.</Empty>
        </div>
      )}
      {value?.versions.map((version) => (
        <section class="card stack" aria-label={version.target} key={version.model + version.target}>
          <div class="row">
            <h2>{version.target}</h2>
            <span class="badge">{version.model}</span>
            <span class="spacer" />
            <span class="stats">
              <span>{count(version.samples)} answers</span>
              <span>{percent(version.samples > 0 ? version.errors / version.samples : null)} failed</span>
              <span>
                feedback {version.feedback.mean === null ? none : version.feedback.mean.toFixed(2)} (
                {version.feedback.count})
              </span>
            </span>
          </div>
          <div class="plots" style={{ gridTemplateColumns: 'repeat(auto-fill, minmax(240px, 1fr))' }}>
            {version.signals.map((signal) => (
              <Distribution signal={signal} key={signal.name} />
            ))}
          </div>
        </section>
      ))}
    </Page>
  );
}

function Distribution({ signal: { name, psi, js, verdict, bins } }: { signal: SignalReport }) {
  const most = Math.max(0.01, ...bins.flatMap(({ reference, current }) => [reference, current]));
  const width = 100 / Math.max(1, bins.length);
  const said = bins.filter(({ current }) => current > 0).map(({ label, current }) => `${label}: ${percent(current)}`);
  return (
    <figure style={{ margin: 0 }} class="stack">
      <figcaption class="row">
        <strong>{name}</strong>
        <span class={`badge ${verdictClass[verdict]}`}>{verdict}</span>
        <span class="spacer" />
        <span class="stats" title="Population stability index and Jensen–Shannon divergence">
          {psi === null ? '' : `PSI ${psi.toFixed(2)}, JS ${(js ?? 0).toFixed(2)}`}
        </span>
      </figcaption>
      <svg
        viewBox="0 0 100 36"
        role="img"
        aria-label={`${name} now: ${said.join(', ') || 'nothing yet'}`}
        preserveAspectRatio="none"
        height="72"
      >
        {bins.map(({ label, reference, current }, index) => (
          <g key={label}>
            <rect
              x={index * width + width * 0.1}
              width={width * 0.38}
              y={36 - (reference / most) * 34}
              height={(reference / most) * 34}
              fill="var(--line-strong)"
              opacity="0.45"
            />
            <rect
              x={index * width + width * 0.5}
              width={width * 0.38}
              y={36 - (current / most) * 34}
              height={(current / most) * 34}
              fill="var(--plot-1)"
            />
          </g>
        ))}
      </svg>
      <div class="stats" style={{ justifyContent: 'space-between' }}>
        <span>{bins[0]?.label}</span>
        <span>{bins.at(-1)?.label}</span>
      </div>
    </figure>
  );
}
