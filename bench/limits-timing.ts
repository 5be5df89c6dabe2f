/**
 * Whether the time of a refusal tells how much of a key was right: wrong keys that share nothing with a real one against
 * wrong keys that share all but the last character, interleaved. Goal: |t| < 4.5 (Welch) over 10^5 tries.
 *
 *     node bench/run.mjs limits-timing
 */
import { cpus, loadavg } from 'node:os';
import { randomId } from '../src/core/clock.ts';
import { nodeDigest } from '../src/core/digest.node.ts';
import { createKeyring } from '../src/policy/keyring.ts';
import { makeKey } from '../src/policy/new-key.ts';

const tries = 100_000;
const digest = nodeDigest();
const { secret, record } = await makeKey({ name: 'real' }, digest);
const byDigest = new Map([[record.digest, record]]);
const keyring = createKeyring({
  digest,
  store: { byDigest: async (hash) => byDigest.get(hash), any: async () => true },
});

/** Flat strings: V8 would flatten one that was put together inside what is measured. */
const flat = (text: string) => Buffer.from(text).toString('latin1');
const near = () => flat(secret.slice(0, -1) + randomId('', 1));
const far = () => flat(randomId('tg-', 43));
const times: [number[], number[]] = [[], []];
// Made beforehand: what making one leaves in the processor's caches would be measured with it.
const tried = Array.from({ length: tries }, () => {
  const which: 0 | 1 = Math.random() < 0.5 ? 0 : 1;
  return { which, key: which === 0 ? far() : near() };
}).filter(({ key }) => key !== secret);
for (const { which, key } of tried) {
  keyring.forget(); // 62 keys are near: none of them may be remembered
  const headers = { authorization: `Bearer ${key}` };
  const startedNs = process.hrtime.bigint();
  await Promise.resolve(keyring.authenticate(headers)).catch(() => {});
  times[which].push(Number(process.hrtime.bigint() - startedNs));
}

/** Without the slowest tenth: they measure the machine's other work. */
const cropped = times.map((all) => all.sort((a, b) => a - b).slice(0, Math.floor(all.length * 0.9)));
const [a, b] = cropped.map((values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    mean,
    variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1),
    n: values.length,
  };
});
if (!a || !b) throw new Error('nothing was measured');
const t = (a.mean - b.mean) / Math.sqrt(a.variance / a.n + b.variance / b.n);
console.log(
  JSON.stringify(
    {
      what: 'nanoseconds of a refusal: no character right against all but the last one',
      conditions: { node: process.version, cpu: cpus()[0]?.model, load: loadavg()[0]?.toFixed(1), tries },
      far: { meanNs: Math.round(a.mean), tries: a.n },
      near: { meanNs: Math.round(b.mean), tries: b.n },
      t: Number(t.toFixed(2)),
      goal: { t: 4.5, reached: Math.abs(t) < 4.5 },
    },
    null,
    2,
  ),
);
