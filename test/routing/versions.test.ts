import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { createRouting, type RoutingEvent } from '../../src/routing/attempt.ts';
import { trialStrategy } from '../../src/routing/strategies/trial.ts';
import { createTrial, type Outcome, type TrialRule, type Verdict } from '../../src/routing/versions.ts';
import { ask, contextOf } from '../request.ts';
import { drink, leaf, rules, says, upstream } from './harness.ts';

const bounds = { errorIncrease: 0.05, ttftRatio: 1.5, scoreDecrease: 0.1, minSamples: 50 };
const rule = (change: Partial<TrialRule> = {}): TrialRule => ({ share: 0.5, rollback: bounds, ...change });
const often = (count: number, make: (i: number) => Outcome) => Array.from({ length: count }, (_, i) => make(i));

test.each([
  {
    name: 'many more errors',
    stable: often(100, () => ({ ok: true })),
    candidate: often(100, (i) => ({ ok: i % 4 !== 0 })),
    verdict: { action: 'rollback', why: expect.stringContaining('errors: at least') },
  },
  {
    name: 'one error more, which may be chance',
    stable: often(100, (i) => ({ ok: i !== 3 })),
    candidate: often(100, (i) => ({ ok: i > 1 })),
    verdict: undefined,
  },
  {
    name: 'errors, while the stable one fails as often',
    stable: often(100, (i) => ({ ok: i % 4 !== 0 })),
    candidate: often(100, (i) => ({ ok: i % 4 !== 0 })),
    verdict: undefined,
  },
  {
    name: 'a first token twice as late',
    stable: often(100, (i) => ({ ok: true, ttftMs: 100 + i })),
    candidate: often(100, (i) => ({ ok: true, ttftMs: 400 + i })),
    verdict: { action: 'rollback', why: expect.stringContaining('time to first token') },
  },
  {
    name: 'a first token a little later',
    stable: often(100, (i) => ({ ok: true, ttftMs: 100 + i })),
    candidate: often(100, (i) => ({ ok: true, ttftMs: 120 + i })),
    verdict: undefined,
  },
  {
    name: 'worse feedback',
    stable: often(100, (i) => ({ ok: true, score: i % 10 === 0 ? 0 : 1 })),
    candidate: often(100, (i) => ({ ok: true, score: i % 2 })),
    verdict: { action: 'rollback', why: expect.stringContaining('feedback: lower by') },
  },
  {
    name: 'nothing worse, after long enough',
    rule: { promoteAfter: 80 },
    stable: often(100, () => ({ ok: true })),
    candidate: often(100, () => ({ ok: true })),
    verdict: { action: 'promotion', why: expect.stringContaining('80 requests') },
  },
  {
    name: 'errors, but too few of them to judge',
    stable: often(100, () => ({ ok: true })),
    candidate: often(20, () => ({ ok: false })),
    verdict: undefined,
  },
])('$name: $verdict.action', ({ stable, candidate, verdict, rule: change }) => {
  const trial = createTrial('t', rule(change));
  let decided: Verdict | undefined;
  for (const outcome of stable) decided ??= trial.record('stable', outcome);
  for (const outcome of candidate) decided ??= trial.record('candidate', outcome);
  if (verdict) expect(decided).toMatchObject(verdict);
  else expect(decided).toBeUndefined();
});

test('a candidate that is no worse is hardly ever withdrawn by chance, one that is bad nearly always', () => {
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 48271) >>> 0) % 2147483647;
    return seed / 2147483647;
  };
  const withdrawn = (candidateErrors: number) => {
    let count = 0;
    for (let run = 0; run < 200; run++) {
      const trial = createTrial('t', rule());
      for (let i = 0; i < 400 && trial.state() === 'running'; i++) {
        trial.record('stable', { ok: random() > 0.05 });
        trial.record('candidate', { ok: random() > candidateErrors });
      }
      if (trial.state() === 'rolled-back') count += 1;
    }
    return count / 200;
  };
  expect(withdrawn(0.05)).toBeLessThan(0.1);
  expect(withdrawn(0.4)).toBeGreaterThan(0.98);
});

test('a person may promote, roll back or go on, whatever the figures say', () => {
  const trial = createTrial('t', rule({ share: 0.5 }));
  const chosen = () => [0.1, 0.9].map((dice) => trial.choose({ sticky: () => 'x' }, () => dice));
  trial.decide('promoted');
  expect(chosen()).toEqual(['candidate', 'candidate']);
  trial.decide('rolled-back');
  expect(chosen()).toEqual(['stable', 'stable']);
  trial.decide('running');
  expect(chosen()).toEqual(['candidate', 'stable']);
});

function canaried(failing: boolean, change: Partial<TrialRule> = {}) {
  const trial = createTrial('demo: new', rule({ ...change, rollback: { ...bounds, minSamples: 20 } }));
  const old = upstream('old', [says('old')]);
  const fresh = upstream('new', [failing ? [new GatewayError('upstream_failed', 'no')] : says('new')]);
  const tree = {
    kind: 'group' as const,
    name: '',
    weight: 1,
    strategy: trialStrategy(trial),
    trial,
    children: [leaf(old), leaf(fresh)],
  };
  const events: RoutingEvent[] = [];
  let dice = 0;
  const routing = createRouting(
    [
      {
        name: 'demo',
        filters: [],
        targets: [old, fresh],
        rules: { ...rules([old, fresh]), tree, retry: { attempts: 0, baseMs: 1, maxMs: 1, longestWaitMs: 1 } },
      },
    ],
    undefined,
    { random: () => (dice = (dice + 0.37) % 1), onEvent: (event) => events.push(event) },
  );
  const go = async (id: string, caller = 'key') => {
    const context = contextOf({ requestId: id, caller: { id: caller, role: 'caller', tags: [], tenant: caller } });
    const run = await routing.attempt(routing.find('demo'), ask(), context);
    await drink(run);
    return run.target;
  };
  return { trial, old, fresh, events, go, routing };
}

test('a failing canary is withdrawn by itself, with the evidence, and no client ever sees an error', async () => {
  const { events, go, fresh, trial } = canaried(true);
  for (let i = 0; i < 200; i++) expect(await go(`r${i}`)).toBe('old/m');
  expect(trial.state()).toBe('rolled-back');
  const verdicts = events.filter(({ type }) => type === 'verdict');
  expect(verdicts).toEqual([
    expect.objectContaining({
      action: 'rollback',
      trial: 'demo: new',
      evidence: expect.objectContaining({ candidate: expect.objectContaining({ errors: expect.any(Number) }) }),
    }),
  ]);
  expect(fresh.requests.length).toBeLessThan(60);
});

test('a good canary gets its share, counts feedback, and is promoted', async () => {
  const { events, go, fresh, old, trial, routing } = canaried(false, { promoteAfter: 60 });
  for (let i = 0; i < 100; i++) {
    await go(`r${i}`);
    routing.feedback(`r${i}`, 1);
  }
  expect(trial.evidence().candidate.scores).toBeGreaterThan(30);
  for (let i = 100; i < 200; i++) await go(`r${i}`);
  expect(trial.state()).toBe('promoted');
  expect(events).toMatchObject([{ type: 'verdict', action: 'promotion' }]);
  const before = old.requests.length;
  for (let i = 0; i < 20; i++) expect(await go(`s${i}`)).toBe('new/m');
  expect(old.requests.length).toBe(before);
  expect(fresh.requests.length).toBeGreaterThan(60);
});

test('a sticky trial gives the same caller the same version', async () => {
  const { go } = canaried(false, { sticky: 'caller' });
  const first = new Map<string, string>();
  for (let i = 0; i < 90; i++) {
    const caller = `key_${i % 15}`;
    const target = await go(`r${i}`, caller);
    expect(target).toBe(first.get(caller) ?? target);
    first.set(caller, target);
  }
  expect(new Set(first.values()).size).toBe(2);
});
