import { GatewayError } from '../core/errors.ts';
import type { Entity, Label } from './readers.ts';

/** What we use of @huggingface/transformers, which is an optional dependency. */
interface Transformers {
  pipeline(task: 'text-classification' | 'token-classification', model?: string): Promise<Pipeline>;
}
type Pipeline = (text: string, options?: { top_k?: number | null }) => Promise<readonly PipelineResult[]>;
interface PipelineResult {
  readonly label?: string;
  readonly entity?: string;
  readonly word?: string;
  readonly score: number;
}

const defaultNerModel = 'Xenova/bert-base-multilingual-cased-ner-hrl';

/** Text and token classification on this machine; models are loaded when first asked for and kept. */
export function createTransformers() {
  const loaded = new Map<string, Promise<Pipeline>>();
  const load = (task: 'text-classification' | 'token-classification', model: string): Promise<Pipeline> => {
    const key = `${task} ${model}`;
    let pipeline = loaded.get(key);
    if (!pipeline) {
      pipeline = open(task, model);
      loaded.set(key, pipeline);
      pipeline.catch(() => loaded.delete(key)); // a later request may find it there
    }
    return pipeline;
  };
  return {
    async classify(model: string, text: string): Promise<readonly Label[]> {
      const run = await load('text-classification', model);
      return (await run(text, { top_k: null })).map(({ label = '', score }) => ({ label, score }));
    },
    async entities(model: string | undefined, text: string): Promise<readonly Entity[]> {
      const run = await load('token-classification', model ?? defaultNerModel);
      return joinTokens(text, await run(text));
    },
  };
}

async function open(task: 'text-classification' | 'token-classification', model: string): Promise<Pipeline> {
  const name = '@huggingface/transformers'; // not bundled: it brings its own native runtime
  let library: Transformers;
  try {
    library = (await import(name)) as Transformers; // the parts we use, as its documentation says
  } catch (error) {
    const message = `A filter needs ${name}, which is not installed: npm install ${name}`;
    throw new GatewayError('internal', message, { cause: error });
  }
  return library.pipeline(task, model);
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
