import { type Schema, Validator } from '@cfworker/json-schema';
import { GatewayError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { nearestNames } from '../core/nearest.ts';
import { once } from '../core/once.ts';
import type { PromptReference } from '../core/request.ts';
import { TemplateLimitError } from './jinja.ts';
import { type PromptParameters, type PromptVersion, parsePrompt, type Role } from './source.ts';

/** All prompts, by id and version. */
export interface PromptLibrary {
  readonly prompts: readonly PromptVersion[];
  /** Throws invalid_request that names prompt, version or variable. `key` keeps the choice among weighted versions stable. */
  render(reference: PromptReference, key?: string): RenderedPrompt;
  /** Text of a chat template that replaces a model's own, where a file of `templates/` is named so. */
  chatTemplate(model: string): string | undefined;
}

export interface RenderedPrompt {
  readonly id: string;
  readonly version: string;
  readonly model: string | undefined;
  readonly parameters: PromptParameters;
  readonly messages: readonly { readonly role: Role; readonly text: string }[];
}

/** File names relative to `prompts/` → their text: from disk on Node, from text modules at the edge. */
export type PromptFiles = Readonly<Record<string, string>>;

export interface LibraryOptions {
  /** 0 ≤ random < 1: the draw among weighted versions without a key. */
  readonly random?: () => number;
}

/**
 * Reads all files at once; throws PromptFileError for the first that is wrong. `partials/` holds texts to include,
 * `templates/` chat templates (`.jinja`), every other `.md`, `.txt` or `.jinja` file is a prompt:
 * `chat/support@2.md` is version 2 of `chat/support`.
 */
export function createLibrary(files: PromptFiles, { random = Math.random }: LibraryOptions = {}): PromptLibrary {
  const stem = (path: string) => path.replace(/\.(?:md|txt|jinja)$/, '');
  const known = Object.entries(files).filter(
    ([path]) => /\.(?:md|txt|jinja)$/.test(path) && !/(?:^|\/)README\.md$/.test(path),
  );
  const under = (folder: string) =>
    Object.fromEntries(
      known.filter(([path]) => path.startsWith(folder)).map(([path, text]) => [stem(path.slice(folder.length)), text]),
    );
  const partials = under('partials/');
  const templates = under('templates/');
  const prompts = known
    .filter(([path]) => !path.startsWith('partials/') && !path.startsWith('templates/'))
    .map(([path, text]) => parsePrompt(stem(path), path, text, partials));
  const byId = new Map<string, PromptVersion[]>();
  for (const prompt of prompts) byId.set(prompt.id, [...(byId.get(prompt.id) ?? []), prompt]);

  return {
    prompts,
    chatTemplate: (model) => templates[model],
    render(reference, key) {
      const versions = byId.get(reference.id);
      if (!versions) {
        const near = nearestNames(reference.id, [...byId.keys()]);
        const hint = near.length > 0 ? ` Did you mean ${near.map((name) => `'${name}'`).join(' or ')}?` : '';
        throw new GatewayError('invalid_request', `There is no prompt '${reference.id.slice(0, 200)}'.${hint}`, {
          param: 'prompt.id',
        });
      }
      const chosen =
        reference.version === undefined
          ? draw(versions, key, random)
          : versions.find(({ version }) => version === reference.version);
      if (!chosen) {
        const names = versions.map(({ version }) => `'${version}'`).join(', ');
        throw new GatewayError(
          'invalid_request',
          `The prompt '${reference.id}' has no version '${reference.version}'; it has ${names}.`,
          { param: 'prompt.version' },
        );
      }
      const variables = checkVariables(chosen, reference.variables);
      return {
        id: chosen.id,
        version: chosen.version,
        model: chosen.model,
        parameters: chosen.parameters,
        messages: chosen.messages.map(({ role, template }) => ({ role, text: renderOne(chosen, template, variables) })),
      };
    },
  };
}

/** The same, read when it is first asked for: for files that are known to be right, as those of the package. */
export function lazyLibrary(open: () => PromptLibrary): PromptLibrary {
  const library = once(open);
  return {
    get prompts() {
      return library().prompts;
    },
    render: (reference, key) => library().render(reference, key),
    chatTemplate: (model) => library().chatTemplate(model),
  };
}

function renderOne(
  { id, version }: PromptVersion,
  template: PromptVersion['messages'][number]['template'],
  variables: Readonly<Record<string, unknown>>,
): string {
  try {
    return template.render(variables);
  } catch (error) {
    const reason = error instanceof TemplateLimitError ? error.message : 'The template failed on these variables.';
    throw new GatewayError('invalid_request', `The prompt '${id}' version ${version} cannot be rendered: ${reason}`, {
      param: 'prompt.variables',
      cause: error,
    });
  }
}

/** The variables with defaults in place; throws invalid_request that names the first missing, wrong or unknown one. */
function checkVariables(
  { id, variables }: PromptVersion,
  given: Readonly<Record<string, Json>>,
): Readonly<Record<string, unknown>> {
  const refuse = (name: string, problem: string): never => {
    throw new GatewayError('invalid_request', `The variable '${name}' of the prompt '${id}' ${problem}.`, {
      param: `prompt.variables.${name}`,
    });
  };
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(variables, name)) refuse(name.slice(0, 100), 'is not known');
  }
  const values: Record<string, unknown> = {};
  for (const [name, { optional, default: fallback, description: _, ...schema }] of Object.entries(variables)) {
    const value = Object.hasOwn(given, name) ? given[name] : fallback;
    if (value === undefined || value === null) {
      if (!optional) refuse(name, 'is missing');
      continue;
    }
    const { valid, errors } = new Validator(structuredClone(schema) as Schema, '2020-12').validate(value); // an object, by its reader
    if (!valid) refuse(name, `is wrong: ${errors.at(-1)?.error ?? 'it does not fit its schema'}`);
    values[name] = value;
  }
  return values;
}

/** By weight where any version has one, the same for the same key; else the newest (highest number, then last name). */
function draw(
  versions: readonly PromptVersion[],
  key: string | undefined,
  random: () => number,
): PromptVersion | undefined {
  const newest = [...versions].sort((a, b) => b.version.localeCompare(a.version, 'en', { numeric: true }))[0];
  const weighted = versions.filter(({ weight }) => weight !== undefined && weight > 0);
  const total = weighted.reduce((sum, { weight }) => sum + (weight ?? 0), 0);
  if (total === 0) return newest;
  let at = (key === undefined ? random() : fractionOf(key)) * total;
  for (const version of weighted) {
    at -= version.weight ?? 0;
    if (at < 0) return version;
  }
  return weighted.at(-1);
}

/** FNV-1a with a final mix, as a number 0 ≤ x < 1. */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
