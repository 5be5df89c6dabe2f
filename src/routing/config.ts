import * as z from 'zod';
import { bytes, duration } from '../config-values.ts';
import { once } from '../core/once.ts';
import { strategyNames } from './strategies/index.ts';

/** An expression such as `request.promptTokens > 4000 && caller.team == "red"` (CEL). */
const condition = once(() =>
  z
    .string()
    .min(1)
    .superRefine(async (source, context) => {
      const { ConditionError, compileCondition } = await import('./conditions.ts'); // CEL and RE2: much to load
      try {
        compileCondition(source);
      } catch (error) {
        if (!(error instanceof ConditionError)) throw error;
        context.addIssue({ code: 'custom', message: error.message });
      }
    })
    .meta({
      description:
        'A CEL expression over request, metadata, headers, caller, language and label: ' +
        '`request.promptTokens > 4000`, `"red" in caller.tags`, `metadata.tier == "gold"`, `request.text.found("(?i)sql")`.',
    }),
);

const strategy = once(() =>
  z.enum(strategyNames).describe('How siblings share the traffic; `weighted` where weights are given, else `ordered`.'),
);
const sticky = once(() =>
  z.enum(['caller', 'session', 'user']).describe('The same one always gets the same choice (weighted strategies).'),
);
const percent = once(() => z.number().min(0).max(100));

/** A target, or a group of targets with a strategy of its own. */
const target = once(() =>
  z
    .strictObject({
      local: z
        .string()
        .min(1)
        .optional()
        .describe('A model of the catalogue, of the cache, or the path of a GGUF file.'),
      provider: z.string().min(1).optional().describe('A name under `providers`.'),
      model: z.string().min(1).optional().describe("The provider's own name of the model; the public name if absent."),
      weight: z.number().min(0).optional().describe('Share of the traffic among its siblings; 1 if absent.'),
      when: condition().optional().describe('Only for requests that this holds for.'),
      region: z.string().min(1).optional().describe('Where it runs, for `require`.'),
      price: z
        .strictObject({ input: z.number().min(0), output: z.number().min(0) })
        .optional()
        .describe('US dollars per million tokens; from the price table if absent.'),
      get targets() {
        return z.array(target()).min(1).optional().describe('A group instead of one target.');
      },
      strategy: strategy().optional(),
      sticky: sticky().optional(),
    })
    .superRefine((value, context) => {
      const kinds = [value.local, value.provider, value.targets].filter((kind) => kind !== undefined).length;
      if (kinds !== 1)
        context.addIssue({ code: 'custom', message: 'a target names either `local`, `provider` or `targets`' });
    }),
);

const bounds = once(() =>
  z
    .strictObject({
      errorIncrease: percent()
        .default(5)
        .describe('Failed requests more than of the stable version, in percent points.'),
      ttftRatio: z.number().min(1).default(1.5).describe('p90 of the time to first token, as a multiple.'),
      scoreDecrease: z.number().min(0).max(1).default(0.1).describe('Mean feedback (0..1) less than the stable one.'),
      minSamples: z.int().min(5).default(50).describe('Nothing is decided before both have so many.'),
    })
    .describe('How much worse the new version may be, with 95 % certainty, before it is withdrawn.'),
);

const canary = once(() =>
  z
    .strictObject({
      target: target().describe('The new version.'),
      percent: percent().describe('Its share of the requests.'),
      sticky: sticky().optional(),
      rollback: bounds().prefault({}),
      promoteAfter: z
        .int()
        .min(10)
        .optional()
        .describe('After so many requests within the bounds it gets all; never if absent.'),
    })
    .describe('A new version beside the targets above.'),
);

const place = once(() =>
  z
    .strictObject({
      when: condition()
        .optional()
        .describe('Only for requests that this holds for, such as `"personal-data" in request.labels`.'),
      local: z.boolean().default(false).describe('Nothing leaves this machine.'),
      regions: z.array(z.string().min(1)).min(1).optional().describe('Only targets with one of these `region`s.'),
      providers: z.array(z.string().min(1)).min(1).optional().describe('Only these providers, and local models.'),
    })
    .refine(({ local, regions, providers }) => local || regions || providers, {
      message: 'say `local: true`, `regions` or `providers`',
    }),
);

const cache = once(() =>
  z
    .strictObject({
      ttl: duration().default(600_000).describe('How long an answer may be given again.'),
      scope: z.enum(['key', 'team', 'global']).default('key').describe('Who may share an answer.'),
      staleWhileRevalidate: duration()
        .optional()
        .describe('After the ttl an old answer is given so long while a new one is made.'),
      staleIfError: duration()
        .optional()
        .describe('After the ttl an old answer is given so long when every target fails.'),
      semanticThreshold: z.number().min(0).max(1).optional().describe('Similarity from which another wording counts.'),
    })
    .describe('Answers of this model may be given again.'),
);

/** One entry under `models:`. */
export const modelSchema = once(() =>
  z
    .strictObject({
      targets: z.array(target()).min(1).describe('Who serves this name, first choice first.'),
      strategy: strategy().optional(),
      sticky: sticky().optional(),
      canary: z.lazy(canary).optional(),
      overflow: z
        .array(target())
        .default([])
        .describe('Lighter or dearer targets, used when the others would miss the objective, or fail.'),
      fallback: z
        .array(z.union([z.string().min(1), target()]))
        .default([])
        .describe('Other models by name, or targets: tried when all above have failed.'),
      timeouts: z
        .strictObject({
          firstTokenMs: duration()
            .optional()
            .describe(
              'Longest wait for the first token or sign of progress; 60 s, and 10 min for local models, if absent. 0 is no limit.',
            ),
          idleMs: duration()
            .optional()
            .describe('Longest silence in the middle of an answer; 30 s, and 10 min for local models, if absent.'),
          totalMs: duration().default(0).describe('Longest answer, all attempts together.'),
        })
        .prefault({}),
      retry: z
        .strictObject({
          attempts: z
            .int()
            .min(0)
            .max(5)
            .default(1)
            .describe('Further calls of the same target after a broken connection or a 5xx.'),
          base: duration()
            .default(100)
            .describe('The first pause is at most this (full jitter); it doubles with each retry.'),
          max: duration().default(2000).describe('The longest pause.'),
          longestWait: duration()
            .default(2000)
            .describe('A longer `retry-after` of the only target is passed on instead of waited for.'),
        })
        .prefault({}),
      takeover: z
        .strictObject({
          attempts: z
            .int()
            .min(0)
            .max(5)
            .default(2)
            .describe('How often one answer may change hands; 0 switches it off.'),
          maxBytes: bytes()
            .default(1024 * 1024)
            .describe('Delivered text that is kept for it.'),
        })
        .prefault({})
        .describe('A broken answer is finished by the next target from exactly the delivered text.'),
      hedge: z
        .strictObject({
          after: duration().describe('Without a first token after so long the next target is asked too.'),
        })
        .optional(),
      objective: z
        .strictObject({
          ttft: duration().describe('A first token is wanted within this; who would be later is passed over.'),
          shed: z
            .boolean()
            .default(false)
            .describe('Refuse with a true `retry-after` what nobody begins in time, the least urgent first.'),
        })
        .optional(),
      require: z.array(z.lazy(place)).default([]).describe('Where requests may go; no fallback leaves it.'),
      shadow: z
        .strictObject({
          target: target().describe('Gets a copy; its answer is compared, recorded and thrown away.'),
          percent: percent().describe('Share of the requests.'),
          whenIdle: z.boolean().default(true).describe('Only while it has nothing else to do.'),
        })
        .optional(),
      classifier: z
        .strictObject({
          target: target().describe('A small model that names the label; a local one is best.'),
          labels: z.record(z.string().regex(/^[\w-]+$/), z.string()).describe('Label → what belongs to it, in words.'),
          timeout: duration().default(1000).describe('After so long the label is empty.'),
        })
        .optional()
        .describe('Gives `label` to the expressions of this model.'),
      health: z
        .strictObject({
          interval: duration().default(10_000).describe('How often targets that can be pinged are.'),
          timeout: duration().default(2000).describe('A slower answer is none.'),
        })
        .optional()
        .describe('Active health checks.'),
      cache: z.lazy(cache).optional(),
      filters: z.array(z.string().min(1)).default([]).describe('Names under `filters`, in order.'),
      prompt: z
        .strictObject({
          id: z.string().min(1),
          version: z.string().min(1).optional(),
          variables: z.record(z.string(), z.json()).default({}),
        })
        .optional()
        .describe('A prompt of the library that every request is rendered into.'),
    })
    .describe('A public model name and who serves it.'),
);

export type ModelConfig = z.infer<ReturnType<typeof modelSchema>>;
export type TargetConfig = z.infer<ReturnType<typeof target>>;

export interface ReferenceProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What only the whole configuration can tell: names that do not exist, fallbacks that go round in a circle. */
export function referenceProblems(
  models: Readonly<Record<string, ModelConfig>>,
  providers: readonly string[],
): readonly ReferenceProblem[] {
  const problems: ReferenceProblem[] = [];
  const check = (entry: TargetConfig, path: readonly (string | number)[]): void => {
    if (entry.provider !== undefined && !providers.includes(entry.provider)) {
      problems.push({ path: [...path, 'provider'], message: `there is no provider '${entry.provider}'` });
    }
    for (const [index, child] of (entry.targets ?? []).entries()) check(child, [...path, 'targets', index]);
  };
  for (const [name, model] of Object.entries(models)) {
    const at = ['models', name];
    for (const list of ['targets', 'overflow'] as const) {
      for (const [index, entry] of model[list].entries()) check(entry, [...at, list, index]);
    }
    for (const part of ['canary', 'shadow', 'classifier'] as const) {
      const entry = model[part]?.target;
      if (entry) check(entry, [...at, part, 'target']);
    }
    for (const [index, entry] of model.fallback.entries()) {
      const path = [...at, 'fallback', index];
      if (typeof entry !== 'string') check(entry, path);
      else if (!Object.hasOwn(models, entry)) problems.push({ path, message: `there is no model '${entry}'` });
      else if (reaches(entry, name, models))
        problems.push({ path, message: `'${entry}' falls back to '${name}' itself` });
    }
  }
  return problems;
}

function reaches(from: string, wanted: string, models: Readonly<Record<string, ModelConfig>>): boolean {
  const seen = new Set<string>();
  const open = [from];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name === wanted) return true;
    if (seen.has(name)) continue;
    seen.add(name);
    for (const entry of models[name]?.fallback ?? []) if (typeof entry === 'string') open.push(entry);
  }
  return false;
}
