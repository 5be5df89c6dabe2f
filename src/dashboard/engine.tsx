import type { EngineStatus } from '../core/status.ts';
import { bytes, count, percent } from './format.ts';
import { Bar } from './parts.tsx';

/** What an engine does right now and did so far, in one line. */
export function EngineNumbers({ engine }: { engine: EngineStatus }) {
  const { waiting, running, counters, decodeTokensPerSecond, prefillTokensPerSecond, batchWidth } = engine;
  const hits = counters.promptTokens > 0 ? counters.prefixHitTokens / counters.promptTokens : null;
  return (
    <span class="stats">
      <span>{running} running</span>
      <span>{waiting} queued</span>
      <span>batch of {batchWidth}</span>
      <span>{count(decodeTokensPerSecond)} tokens/s</span>
      <span>{count(prefillTokensPerSecond)} prompt tokens/s</span>
      <span>{percent(hits)} of prompts found in the KV cache</span>
      {counters.draftedTokens > 0 && (
        <span>{percent(counters.acceptedTokens / counters.draftedTokens)} of drafts accepted</span>
      )}
      {counters.preemptions > 0 && <span>{counters.preemptions} parked</span>}
      {counters.energyJoules !== undefined && <span>{count(counters.energyJoules)} J</span>}
      {counters.restarts > 0 && <span class="badge warn">{counters.restarts} restarts</span>}
    </span>
  );
}

/** How full each tier of the KV cache is. */
export const KvTiers = ({ kv }: Pick<EngineStatus, 'kv'>) => (
  <>
    {kv.map(({ tier, used, capacity, unit }) => (
      <div key={tier}>
        <div class="row stats">
          <span>KV in {tier}</span>
          <span class="spacer" />
          <span>
            {unit === 'bytes' ? `${bytes(used)} of ${bytes(capacity)}` : `${count(used)} of ${count(capacity)} tokens`}
          </span>
        </div>
        <Bar share={used / Math.max(1, capacity)} label={`KV in ${tier}`} />
      </div>
    ))}
  </>
);
