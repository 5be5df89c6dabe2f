import type { Facts, StickyBy } from './facts.ts';
import { hash32, unit } from './hash.ts';

export type Version = 'stable' | 'candidate';

/** A new version beside the old one: who gets it, and from when on it is withdrawn or becomes the only one. */
export interface TrialRule {
  /** Share of the requests that the candidate gets, 0..1. */
  readonly share: number;
  /** The same caller, session or user always gets the same version. */
  readonly sticky?: StickyBy;
  readonly rollback: Bounds;
  /** Absent: the share stays until somebody changes the configuration. */
  readonly promoteAfter?: number;
}

/** How much worse than the stable version the candidate may be. */
export interface Bounds {
  /** Added share of failed requests: 0.05 is five in a hundred. */
  readonly errorIncrease: number;
  /** p90 of the time to first token, as a multiple. */
  readonly ttftRatio: number;
  /** Mean feedback score (0..1) less than the stable one's by so much. */
  readonly scoreDecrease: number;
  /** Nothing is decided before both versions have so many. */
  readonly minSamples: number;
}

export interface Trial {
  readonly name: string;
  readonly rule: TrialRule;
  state(): 'running' | 'rolled-back' | 'promoted';
  choose(facts: Pick<Facts, 'sticky'>, random: () => number): Version;
  /** What became of one request; gives the verdict when this was the one that decided. */
  record(version: Version, outcome: Outcome): Verdict | undefined;
  evidence(): Evidence;
  /** A person's verdict over the figures': ends the trial one way, or lets it run on. */
  decide(state: 'running' | 'rolled-back' | 'promoted'): void;
}

export interface Outcome {
  readonly ok?: boolean;
  readonly ttftMs?: number;
  /** Feedback, 0 (bad) to 1 (good). */
  readonly score?: number;
}

export interface Verdict {
  readonly trial: string;
  readonly action: 'rollback' | 'promotion';
  /** In words, with the figures that decided. */
  readonly why: string;
  readonly evidence: Evidence;
}

export interface Evidence {
  readonly stable: Figures;
  readonly candidate: Figures;
}

export interface Figures {
  readonly requests: number;
  readonly errors: number;
  readonly ttftP90Ms: number | undefined;
  readonly scores: number;
  readonly meanScore: number | undefined;
}

/** One-sided 95 %: a candidate is judged by what is almost certain, not by its luck. */
const z = 1.645;
const kept = 1000;
/** A multiple of almost nothing is almost nothing: nobody notices a first token that is so much later. */
const unnoticedMs = 50;

export function createTrial(name: string, rule: TrialRule): Trial {
  const stable = createSamples();
  const candidate = createSamples();
  let state: ReturnType<Trial['state']> = 'running';
  const evidence = () => ({ stable: stable.figures(), candidate: candidate.figures() });

  const judge = (): Verdict | undefined => {
    if (stable.oks.length < rule.rollback.minSamples || candidate.oks.length < rule.rollback.minSamples) {
      return undefined;
    }
    const why = worse(stable, candidate, rule.rollback);
    if (why) {
      state = 'rolled-back';
      return { trial: name, action: 'rollback', why, evidence: evidence() };
    }
    if (rule.promoteAfter !== undefined && candidate.total >= rule.promoteAfter) {
      state = 'promoted';
      const figures = `${candidate.total} requests within its bounds`;
      return { trial: name, action: 'promotion', why: figures, evidence: evidence() };
    }
    return undefined;
  };

  return {
    name,
    rule,
    state: () => state,
    choose(facts, random) {
      if (state !== 'running') return state === 'promoted' ? 'candidate' : 'stable';
      const dice = rule.sticky ? unit(hash32(`${name}\n${facts.sticky(rule.sticky)}`)) : random();
      return dice < rule.share ? 'candidate' : 'stable';
    },
    record(version, outcome) {
      if (state !== 'running') return undefined;
      (version === 'stable' ? stable : candidate).add(outcome);
      return judge();
    },
    evidence,
    decide(decided) {
      state = decided;
    },
  };
}

interface Samples {
  readonly oks: readonly boolean[];
  readonly ttfts: readonly number[];
  readonly scores: readonly number[];
  readonly total: number;
  add(outcome: Outcome): void;
  figures(): Figures;
}

function createSamples(): Samples {
  const oks: boolean[] = [];
  const ttfts: number[] = [];
  const scores: number[] = [];
  let total = 0;
  const keep = <T>(list: T[], value: T) => {
    list.push(value);
    if (list.length > kept) list.shift();
  };
  return {
    oks,
    ttfts,
    scores,
    get total() {
      return total;
    },
    add({ ok, ttftMs, score }) {
      if (ok !== undefined) {
        keep(oks, ok);
        total += 1;
      }
      if (ttftMs !== undefined) keep(ttfts, ttftMs);
      if (score !== undefined) keep(scores, Math.min(1, Math.max(0, score)));
    },
    figures: () => ({
      requests: oks.length,
      errors: errorsOf(oks),
      ttftP90Ms: ttfts.length > 0 ? quantile(ttfts, 0.9) : undefined,
      scores: scores.length,
      meanScore: scores.length > 0 ? mean(scores) : undefined,
    }),
  };
}

/** Why the candidate is worse beyond its bounds, or undefined. */
function worse(stable: Samples, candidate: Samples, bounds: Bounds): string | undefined {
  const stableErrors = errorsOf(stable.oks) / stable.oks.length;
  const leastErrors = wilsonLower(errorsOf(candidate.oks), candidate.oks.length);
  if (leastErrors > stableErrors + bounds.errorIncrease) {
    return `errors: at least ${percent(leastErrors)} against ${percent(stableErrors)}, bound +${percent(bounds.errorIncrease)}`;
  }
  if (Math.min(stable.ttfts.length, candidate.ttfts.length) >= bounds.minSamples) {
    // The lower end of the quantile's confidence interval, from order statistics.
    const lower = quantile(candidate.ttfts, 0.9 - z * Math.sqrt(0.09 / candidate.ttfts.length));
    const usual = quantile(stable.ttfts, 0.9);
    const allowed = Math.max(usual * bounds.ttftRatio, usual + unnoticedMs);
    if (lower > allowed) {
      return `time to first token: p90 at least ${lower.toFixed(0)} ms against a bound of ${allowed.toFixed(0)} ms`;
    }
  }
  if (Math.min(stable.scores.length, candidate.scores.length) >= bounds.minSamples) {
    const spread = Math.sqrt(
      variance(stable.scores) / stable.scores.length + variance(candidate.scores) / candidate.scores.length,
    );
    const drop = mean(stable.scores) - mean(candidate.scores) - z * spread;
    if (drop > bounds.scoreDecrease) {
      return `feedback: lower by at least ${drop.toFixed(2)}, bound ${bounds.scoreDecrease}`;
    }
  }
  return undefined;
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const errorsOf = (oks: readonly boolean[]) => oks.reduce((count, ok) => count + (ok ? 0 : 1), 0);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const variance = (values: readonly number[]) => {
  const center = mean(values);
  return mean(values.map((value) => (value - center) ** 2));
};
const quantile = (values: readonly number[], q: number) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1))] ?? 0;
};

/** Lower end of Wilson's interval for `hits` of `total`. */
function wilsonLower(hits: number, total: number): number {
  const share = hits / total;
  const center = share + z ** 2 / (2 * total);
  const spread = z * Math.sqrt((share * (1 - share)) / total + z ** 2 / (4 * total ** 2));
  return Math.max(0, (center - spread) / (1 + z ** 2 / total));
}
