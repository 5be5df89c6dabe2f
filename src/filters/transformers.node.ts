import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { GatewayError } from '../core/errors.ts';
import type { Entity, Label } from './readers.ts';

/** What we use of @huggingface/transformers, which is an optional dependency. */
interface Transformers {
  readonly env: { localModelPath: string };
  pipeline(task: Task, model?: string, options?: object): Promise<Pipeline>;
}
type Task = 'text-classification' | 'token-classification';
type Pipeline = (text: string, options?: { top_k?: number | null }) => Promise<readonly PipelineResult[]>;
interface PipelineResult {
  readonly label?: string;
  readonly entity?: string;
  readonly word?: string;
  readonly score: number;
}

const defaultNerModel = 'Xenova/bert-base-multilingual-cased-ner-hrl';
/**
 * Models read some 512 tokens and leave out the rest without a word. In any script so many characters are fewer; the
 * overlap holds any name.
 */
const windowCharacters = 400;
const overlapCharacters = 80;

/**
 * Text and token classification on this machine, by a model's name or by the path of its folder. Models are loaded when
 * first asked for and kept. Long texts are read in windows, whole.
 */
export function createTransformers() {
  const loaded = new Map<string, Promise<Pipeline>>();
  let opening: Promise<unknown> = Promise.resolve(); // one after the other: the folder is a setting of the whole library
  const load = (task: Task, model: string): Promise<Pipeline> => {
    const key = `${task} ${model}`;
    let pipeline = loaded.get(key);
    if (!pipeline) {
      pipeline = opening.then(() => open(task, model));
      opening = pipeline.catch(() => loaded.delete(key)); // a later request may find it there
      loaded.set(key, pipeline);
    }
    return pipeline;
  };
  return {
    /** Each label with its highest score anywhere in the text. */
    async classify(model: string, text: string): Promise<readonly Label[]> {
      const run = await load('text-classification', model);
      const highest = new Map<string, number>();
      for (const window of windowsOf(text)) {
        for (const { label = '', score } of await run(window, { top_k: null })) {
          highest.set(label, Math.max(score, highest.get(label) ?? 0));
        }
      }
      return [...highest].map(([label, score]) => ({ label, score })).sort((a, b) => b.score - a.score);
    },
    async entities(model: string | undefined, text: string): Promise<readonly Entity[]> {
      const run = await load('token-classification', model ?? defaultNerModel);
      const entities: Entity[] = [];
      for (const window of windowsOf(text)) entities.push(...joinTokens(window, await run(window)));
      return entities;
    },
  };
}

/** Overlapping pieces of a text, cut between words where there are any. */
function windowsOf(text: string): readonly string[] {
  const windows: string[] = [];
  for (let at = 0; ; ) {
    if (text.length - at <= windowCharacters) return [...windows, text.slice(at)];
    const space = text.lastIndexOf(' ', at + windowCharacters);
    const end = space > at + windowCharacters / 2 ? space : at + windowCharacters;
    windows.push(text.slice(at, end));
    const back = text.lastIndexOf(' ', end - overlapCharacters);
    at = back > at ? back + 1 : end - overlapCharacters;
  }
}

async function open(task: Task, model: string): Promise<Pipeline> {
  const name = '@huggingface/transformers'; // not bundled: it brings its own native runtime
  let library: Transformers;
  try {
    library = (await import(name)) as Transformers; // the parts we use, as its documentation says
  } catch (error) {
    const message = `A filter needs ${name}, which is not installed: npm install ${name}`;
    throw new GatewayError('internal', message, { cause: error });
  }
  if (!existsSync(model)) return library.pipeline(task, model);
  const folder = resolve(model);
  library.env.localModelPath = dirname(folder);
  return library.pipeline(task, basename(folder), { dtype: 'fp32', device: 'cpu', local_files_only: true });
}
/** Word pieces with BIO labels as parts of the text: `B-PER Jo`, `I-PER ##hn` → `John`. */
export function joinTokens(text: string, tokens: readonly PipelineResult[]): readonly Entity[] {
  const entities: { label: string; start: number; end: number; score: number }[] = [];
  let at = 0;
  for (const { entity = 'O', word = '', score } of tokens) {
    const piece = word.replace(/^##|^[▁Ġ]/, '');
    const start = text.indexOf(piece, at);
    if (piece === '' || start < 0) continue;
    at = start + piece.length;
    const label = labels[entity.replace(/^[BIES]-/, '')];
    if (!label) continue;
    const last = entities.at(-1);
    const goesOn = last?.label === label && !/\p{L}/u.test(text.slice(last.end, start)) && start - last.end <= 1;
    if (last && goesOn && (!entity.startsWith('B-') || word.startsWith('##'))) {
      last.end = at;
      last.score = Math.min(last.score, score);
    } else entities.push({ label, start, end: at, score });
  }
  return entities.map(({ label, start, end, score }) => ({ label, score, text: text.slice(start, end) }));
}

const labels: Readonly<Record<string, string>> = { PER: 'person', PERSON: 'person', LOC: 'place', GPE: 'place' };
