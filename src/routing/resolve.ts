import { GatewayError } from '../core/errors.ts';
import type { CacheRule, Target } from '../core/route.ts';
import type { ModelConfig, TargetConfig } from './config.ts';
import type { Condition, Group, Leaf, PlaceRule, RoutedModel, RouteNode, RouteRules } from './model.ts';
import { leavesOf } from './plan.ts';
import { createStrategy, type StrategyName, strategyNames } from './strategies/index.ts';
import type { Price, Strategy } from './strategies/strategy.ts';
import { trialStrategy } from './strategies/trial.ts';
import { createTrial, type Trial, type TrialRule } from './versions.ts';

/** What the composition root knows and routing does not: which providers there are, and what they cost. */
export interface TargetSource {
  /** The targets of `provider` (a name under `providers:`, or `local`), one per replica; undefined where there is none. */
  find(provider: string, model: string): Found | undefined;
  /** US dollars per million tokens, from a price table. */
  price?(provider: string, model: string): Price | undefined;
  /** Compiles a `when`; needed where there is one. */
  condition?(source: string): Condition;
}

export interface Found {
  readonly targets: readonly Target[];
  /** How replicas share the traffic; `prefix-affinity` if absent. */
  readonly balance?: string;
  /** Instead of `balance`. */
  readonly strategy?: Strategy;
}

/** Trials by name, kept over reloads: a changed file must not forget why a version was withdrawn. */
export type Trials = Map<string, Trial>;

/** The entries of `models:` as routes. Throws invalid_request that names the entry where a provider or model is missing. */
export function resolveRoutes(
  models: Readonly<Record<string, ModelConfig>>,
  source: TargetSource,
  trials: Trials = new Map(),
): readonly RoutedModel[] {
  const nodeOf = (entry: TargetConfig, model: string, at: string): RouteNode => {
    const when = entry.when === undefined ? undefined : conditionOf(source, entry.when);
    const common = { weight: entry.weight ?? 1, ...(when && { when }) };
    if (entry.targets) {
      const children = entry.targets.map((child, index) => nodeOf(child, model, `${at}.targets.${index}`));
      return { kind: 'group', name: '', ...common, strategy: strategyOf(entry, entry.targets), children };
    }
    const provider = entry.provider ?? 'local';
    const own = entry.local ?? entry.model ?? model;
    const found = source.find(provider, own);
    if (!found || found.targets.length === 0) {
      throw new GatewayError('invalid_request', `${at}: there is no provider '${provider}'.`);
    }
    const price = () => entry.price ?? source.price?.(provider, own);
    const leaves = found.targets.map(
      (target): Leaf => ({
        kind: 'leaf',
        target,
        provider,
        weight: 1,
        ...(entry.region !== undefined && { region: entry.region }),
        price,
      }),
    );
    const [only] = leaves;
    if (only && leaves.length === 1) return { ...only, ...common };
    const strategy = found.strategy ?? createStrategy(balanceOf(found.balance, `providers.${provider}.balance`));
    return { kind: 'group', name: provider, ...common, strategy, children: leaves };
  };

  const treeOf = (name: string, model: ModelConfig): RouteNode => {
    const at = `models.${name}`;
    const children = model.targets.map((entry, index) => nodeOf(entry, name, `${at}.targets.${index}`));
    const stable: Group = { kind: 'group', name: '', weight: 1, strategy: strategyOf(model, model.targets), children };
    if (!model.canary) return stable;
    const candidate = nodeOf(model.canary.target, name, `${at}.canary.target`);
    const trial = trialOf(name, model.canary, candidate, trials);
    return { kind: 'group', name: '', weight: 1, strategy: trialStrategy(trial), trial, children: [stable, candidate] };
  };

  /** The fallback entries of a model, names replaced by what they stand for. Circles are refused by the schema's check. */
  const fallbackOf = (name: string, model: ModelConfig, seen: readonly string[]): readonly RouteNode[] =>
    model.fallback.flatMap((entry, index): readonly RouteNode[] => {
      const at = `models.${name}.fallback.${index}`;
      if (typeof entry !== 'string') return [nodeOf(entry, name, at)];
      const other = Object.hasOwn(models, entry) ? models[entry] : undefined;
      if (!other) throw new GatewayError('invalid_request', `${at}: there is no model '${entry}'.`);
      if (seen.includes(entry)) throw new GatewayError('invalid_request', `${at}: '${entry}' falls back to itself.`);
      return [treeOf(entry, other), ...fallbackOf(entry, other, [...seen, entry])];
    });

  return Object.entries(models).map(([name, model]): RoutedModel => {
    const at = `models.${name}`;
    const { retry, timeouts, takeover, objective, shadow, classifier, health, hedge } = model;
    const leafOf = (entry: TargetConfig, where: string): Leaf => {
      const [leaf] = leavesOf(nodeOf(entry, name, where));
      if (!leaf) throw new GatewayError('invalid_request', `${where}: names no target.`);
      return leaf;
    };
    const rules: RouteRules = {
      tree: treeOf(name, model),
      overflow: model.overflow.map((entry, index) => nodeOf(entry, name, `${at}.overflow.${index}`)),
      fallback: fallbackOf(name, model, [name]),
      timeouts,
      retry: { attempts: retry.attempts, baseMs: retry.base, maxMs: retry.max, longestWaitMs: retry.longestWait },
      takeover,
      place: model.require.map((rule) => placeOf(rule, source)),
      ...(hedge && { hedge: { afterMs: hedge.after } }),
      ...(objective && { objective: { ttftMs: objective.ttft, shed: objective.shed } }),
      ...(shadow && {
        shadow: {
          target: leafOf(shadow.target, `${at}.shadow.target`),
          share: shadow.percent / 100,
          whenIdle: shadow.whenIdle,
        },
      }),
      ...(classifier && {
        classifier: {
          target: leafOf(classifier.target, `${at}.classifier.target`).target,
          labels: classifier.labels,
          timeoutMs: classifier.timeout,
        },
      }),
      ...(health && { health: { intervalMs: health.interval, timeoutMs: health.timeout } }),
    };
    return {
      name,
      filters: model.filters,
      ...(model.cache && { cache: cacheOf(model.cache) }),
      ...(model.prompt && { prompt: promptOf(model.prompt) }),
      targets: [rules.tree, ...rules.overflow, ...rules.fallback].flatMap(leavesOf).map(({ target }) => target),
      rules,
    };
  });
}

function strategyOf({ strategy, sticky }: Pick<TargetConfig, 'strategy' | 'sticky'>, targets: readonly TargetConfig[]) {
  const weights = sticky !== undefined || targets.some(({ weight }) => weight !== undefined);
  return createStrategy(strategy ?? (weights ? 'weighted' : 'ordered'), sticky);
}

function balanceOf(balance: string | undefined, at: string): StrategyName {
  const name = strategyNames.find((each) => each === (balance ?? 'prefix-affinity'));
  if (!name) {
    throw new GatewayError('invalid_request', `${at}: '${balance}' is none of ${strategyNames.join(', ')}.`);
  }
  return name;
}

function trialOf(
  name: string,
  canary: NonNullable<ModelConfig['canary']>,
  candidate: RouteNode,
  trials: Trials,
): Trial {
  const { errorIncrease, ...bounds } = canary.rollback;
  const rule: TrialRule = {
    share: canary.percent / 100,
    rollback: { ...bounds, errorIncrease: errorIncrease / 100 },
    ...(canary.sticky && { sticky: canary.sticky }),
    ...(canary.promoteAfter !== undefined && { promoteAfter: canary.promoteAfter }),
  };
  const title = `${name}: ${leavesOf(candidate)
    .map(({ target }) => target.name)
    .join(' + ')}`;
  const kept = trials.get(title);
  if (kept && JSON.stringify(kept.rule) === JSON.stringify(rule)) return kept;
  const trial = createTrial(title, rule);
  trials.set(title, trial);
  return trial;
}

function conditionOf({ condition }: TargetSource, when: string): Condition {
  if (!condition) throw new Error('A route has a condition, but nothing compiles it.');
  return condition(when);
}

function placeOf({ when, local, regions, providers }: ModelConfig['require'][number], source: TargetSource): PlaceRule {
  return {
    local,
    ...(when !== undefined && { when: conditionOf(source, when) }),
    ...(regions && { regions }),
    ...(providers && { providers }),
  };
}

function cacheOf({ ttl, scope, ...more }: NonNullable<ModelConfig['cache']>): CacheRule {
  return {
    ttlMs: ttl,
    scope,
    ...(more.staleWhileRevalidate !== undefined && { staleWhileRevalidateMs: more.staleWhileRevalidate }),
    ...(more.staleIfError !== undefined && { staleIfErrorMs: more.staleIfError }),
    ...(more.semanticThreshold !== undefined && { semanticThreshold: more.semanticThreshold }),
  };
}

const promptOf = ({ id, version, variables }: NonNullable<ModelConfig['prompt']>) => ({
  id,
  variables,
  ...(version !== undefined && { version }),
});
