import * as z from 'zod';
import { createByteLog } from '../core/byte-log.ts';
import { isClientFault } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import { isJson } from '../core/json.ts';
import { detectLanguage, languages } from '../core/language.ts';
import { once } from '../core/once.ts';
import type { Feedback, RequestRecord, Watcher } from '../core/record.ts';
import type { Dialect } from '../core/request.ts';
import { createWindow, jensenShannon, populationStability, shares } from './drift.ts';
import { looksRefusing } from './text-signals.ts';

export interface QualityOptions {
  /** The first so many answers of a version are what later ones are compared with. */
  readonly referenceSize?: number;
  readonly currentSize?: number;
  /** Embeds a text; a sample of answers is embedded off the request's way. Absent: that signal is left out. */
  readonly embed?: (text: string) => Promise<readonly number[] | Float32Array | undefined>;
  /** Share of answers that are embedded. */
  readonly embedShare?: number;
  /** What the bytes of an answer that passed through unread said; absent: only their lengths and finishes are known. */
  readonly decodeWire?: (dialect: Dialect, bytes: Uint8Array) => readonly CompletionEvent[] | undefined;
  /** Share of the answers that passed through whose copy is read, after they have ended. */
  readonly readShare?: number;
  readonly random?: () => number;
}

export interface SignalReport {
  readonly name: string;
  readonly psi: number | null;
  readonly js: number | null;
  readonly verdict: 'gathering' | 'steady' | 'moved' | 'drifted';
  readonly bins: readonly { readonly label: string; readonly reference: number; readonly current: number }[];
}

/** What canaries and rollbacks read of one version. */
export interface VersionReport {
  readonly model: string;
  /** `provider/model` */
  readonly target: string;
  readonly samples: number;
  readonly errors: number;
  readonly feedback: { readonly count: number; readonly mean: number | null };
  readonly signals: readonly SignalReport[];
}

export interface Quality {
  readonly watch: Watcher;
  feedback(given: Pick<Feedback, 'model' | 'target' | 'score'>): void;
  report(): { readonly versions: readonly VersionReport[] };
  /** Everything that is known, as plain JSON: distributions, no texts. */
  state(): QualityState;
  /** Takes over what an earlier process knew; what is not such a state is ignored. */
  restore(state: unknown): void;
}

const qualityState = once(() =>
  z.object({
    versions: z.array(
      z.object({
        model: z.string(),
        target: z.string(),
        samples: z.number(),
        errors: z.number(),
        scores: z.number(),
        scoreSum: z.number(),
        windows: z.record(z.string(), z.object({ reference: z.array(z.number()), last: z.array(z.number()) })),
        centroid: z.array(z.number()),
        embedded: z.number(),
      }),
    ),
  }),
);
export type QualityState = z.infer<ReturnType<typeof qualityState>>;

const maxVersions = 200;
const maxChars = 4000;
const maxWireBytes = 64 * 1024;
/** Fewer observations say nothing yet. */
const enough = 30;

const tokenEdges = [16, 64, 256, 1024, 4096, 16_384];
const tokenLabels = ['≤16', '≤64', '≤256', '≤1k', '≤4k', '≤16k', 'more'];
const signals = {
  'prompt length': tokenLabels,
  'answer length': tokenLabels,
  language: languages,
  refusal: ['no', 'yes'],
  'JSON validity': ['valid', 'broken'],
  confidence: ['<20 %', '<40 %', '<60 %', '<80 %', '≤100 %'],
  finish: ['stop', 'length', 'tool-calls', 'content-filter', 'other', 'failed'],
  'distance from usual': ['<0.1', '<0.2', '<0.3', '<0.4', '<0.5', 'more'],
} as const;
type SignalName = keyof typeof signals;

interface Version {
  readonly model: string;
  readonly target: string;
  samples: number;
  errors: number;
  scores: number;
  scoreSum: number;
  readonly windows: Map<SignalName, ReturnType<typeof createWindow>>;
  centroid: number[];
  embedded: number;
}

/**
 * How prompts and answers of each version are distributed, against its first ones. Texts are looked at while they pass
 * and are not kept.
 */
export function createQuality({
  referenceSize = 200,
  currentSize = 200,
  embed,
  embedShare = 0.05,
  decodeWire,
  readShare = 0.1,
  random = Math.random,
}: QualityOptions = {}): Quality {
  const versions = new Map<string, Version>();

  let last: Version | undefined; // answers in a row are mostly of one
  const versionOf = (model: string, target: string): Version | undefined => {
    if (last?.model === model && last.target === target) return last;
    const key = `${model} ${target}`;
    let version = versions.get(key);
    if (!version && versions.size < maxVersions) {
      version = {
        model,
        target,
        samples: 0,
        errors: 0,
        scores: 0,
        scoreSum: 0,
        windows: new Map(),
        centroid: [],
        embedded: 0,
      };
      versions.set(key, version);
    }
    last = version;
    return version;
  };
  const note = ({ windows }: Version, name: SignalName, bin: number) => {
    let window = windows.get(name);
    if (!window) {
      window = createWindow(signals[name].length, referenceSize, currentSize);
      windows.set(name, window);
    }
    window.add(Math.min(Math.max(0, bin), signals[name].length - 1));
  };

  const noteEmbedding = async (version: Version, text: string) => {
    const vector = await embed?.(text).catch(() => undefined);
    if (!vector) return;
    const { centroid } = version;
    if (version.embedded >= 5) note(version, 'distance from usual', Math.floor(distance(centroid, vector) * 10));
    if (version.embedded < referenceSize) {
      version.embedded++;
      vector.forEach((value, axis) => {
        centroid[axis] = (centroid[axis] ?? 0) + (value - (centroid[axis] ?? 0)) / version.embedded;
      });
    }
  };

  const observe = (
    record: RequestRecord,
    text: string,
    logprobs: { sum: number; count: number },
    wantsJson: boolean,
  ) => {
    const target = record.target ?? record.attempts.at(-1)?.target;
    if (target === undefined || isClientFault(record.outcome) || record.cache === 'hit') return;
    const version = versionOf(record.model, target);
    if (!version) return;
    version.samples++;
    const failed = record.outcome !== 'ok';
    if (failed) version.errors++;
    note(version, 'finish', finishBin(record, failed));
    if (failed) return;
    const { usage } = record;
    if (usage) {
      note(version, 'prompt length', binOf(usage.promptTokens, tokenEdges));
      note(version, 'answer length', binOf(usage.completionTokens, tokenEdges));
    }
    if (logprobs.count > 0) note(version, 'confidence', Math.floor(Math.exp(logprobs.sum / logprobs.count) * 5));
    if (text === '') return;
    note(version, 'language', languages.indexOf(detectLanguage(text)));
    note(version, 'refusal', Number(looksRefusing(text) || record.finishReasons.includes('refusal')));
    if (wantsJson && text.length < maxChars) note(version, 'JSON validity', Number(!isJson(text)));
    if (embed && random() < embedShare) void noteEmbedding(version, text);
  };

  return {
    watch(request) {
      let text = '';
      const logprobs = { sum: 0, count: 0 };
      const { type } = request.responseFormat;
      const dialect = request.wire?.dialect;
      let room = dialect && decodeWire && random() < readShare ? maxWireBytes : 0;
      const copy = room > 0 ? createByteLog(Number.POSITIVE_INFINITY) : undefined;
      const see = (event: CompletionEvent) => {
        if (event.type === 'wire' && room > 0) {
          copy?.push(event.bytes);
          room -= event.bytes.length;
        }
        if (event.type !== 'text-delta' || event.choice !== 0) return;
        if (text.length < maxChars) text += event.text;
        for (const { logprob } of event.logprobs ?? []) {
          logprobs.sum += Math.max(logprob, -50);
          logprobs.count++;
        }
      };
      return {
        event: see,
        ended(record) {
          const bytes = copy?.bytes();
          copy?.release();
          if (dialect && bytes && bytes.length > 0) readCopy(() => decodeWire?.(dialect, bytes)?.forEach(see));
          observe(record, text, logprobs, type === 'json-object' || type === 'json-schema');
        },
      };
    },
    feedback({ model, target, score }) {
      const version = versionOf(model, target);
      if (!version) return;
      version.scores++;
      version.scoreSum += score;
    },
    report: () => ({ versions: [...versions.values()].map(reportOf) }),
    state: () => ({
      versions: [...versions.values()].map(({ windows, ...version }) => ({
        ...version,
        windows: Object.fromEntries([...windows].map(([name, window]) => [name, window.state()])),
      })) as QualityState['versions'], // the parsed type knows no readonly arrays
    }),
    restore(state) {
      const parsed = qualityState().safeParse(state);
      for (const { model, target, windows, ...counts } of parsed.data?.versions ?? []) {
        const version = versionOf(model, target);
        if (!version || version.samples > 0) continue;
        Object.assign(version, counts);
        for (const [name, bins] of Object.entries<readonly string[]>(signals)) {
          const before = windows[name];
          // A key of `signals`, by what was just iterated.
          if (before)
            version.windows.set(name as SignalName, createWindow(bins.length, referenceSize, currentSize, before));
        }
      }
    },
  };
}

/** What cannot be read leaves its signals out. */
function readCopy(read: () => void): void {
  try {
    read();
  } catch {
    // an upstream's own framing
  }
}

function reportOf({ model, target, samples, errors, scores, scoreSum, windows }: Version): VersionReport {
  return {
    model,
    target,
    samples,
    errors,
    feedback: { count: scores, mean: scores > 0 ? scoreSum / scores : null },
    // In the order of `signals`, whatever was seen first.
    signals: (Object.keys(signals) as SignalName[]).flatMap((name) => {
      const window = windows.get(name);
      if (!window) return [];
      const [reference, current] = [shares(window.reference), shares(window.current)];
      const [, seen] = window.sizes();
      const psi = seen >= enough ? populationStability(window.reference, window.current) : null;
      return {
        name,
        psi,
        js: seen >= enough ? jensenShannon(window.reference, window.current) : null,
        verdict: psi === null ? 'gathering' : psi < 0.1 ? 'steady' : psi < 0.25 ? 'moved' : 'drifted',
        bins: signals[name]
          .map((label, bin) => ({ label, reference: reference[bin] ?? 0, current: current[bin] ?? 0 }))
          .filter((bin) => name !== 'language' || bin.reference > 0 || bin.current > 0),
      };
    }),
  };
}

const binOf = (value: number, edges: readonly number[]) => {
  const bin = edges.findIndex((edge) => value <= edge);
  return bin < 0 ? edges.length : bin;
};

function finishBin({ finishReasons }: RequestRecord, failed: boolean): number {
  if (failed) return signals.finish.indexOf('failed');
  const at = (signals.finish as readonly string[]).indexOf(finishReasons[0] ?? 'other');
  return at < 0 ? signals.finish.indexOf('other') : at;
}

/** Cosine distance, 0 alike to 2 opposite. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let axis = 0; axis < b.length; axis++) {
    const [x, y] = [a[axis] ?? 0, b[axis] ?? 0];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return 1 - dot / (Math.sqrt(aa * bb) || 1);
}
