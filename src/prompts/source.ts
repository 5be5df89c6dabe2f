import { parseDocument } from 'yaml';
import * as z from 'zod';
import { once } from '../core/once.ts';
import { type JinjaTemplate, parseTemplate } from './jinja.ts';

const variable = once(() =>
  z
    .looseObject({
      type: z.enum(['string', 'number', 'integer', 'boolean', 'array', 'object']).optional(),
      description: z.string().optional(),
      default: z.unknown().optional(),
      optional: z.boolean().optional(),
    })
    .describe('A JSON Schema of one variable; with `default` or `optional: true` it may be left out.'),
);

const promptTest = once(() =>
  z.strictObject({
    variables: z.record(z.string(), z.json()).default({}),
    contains: z.union([z.string().transform((text) => [text]), z.array(z.string())]).optional(),
    refuses: z.string().optional().describe('The variable that must be refused.'),
  }),
);

const header = once(() =>
  z.strictObject({
    name: z.string().min(1).optional(),
    version: z
      .union([z.string().min(1), z.number()])
      .transform(String)
      .optional(),
    description: z.string().optional(),
    weight: z.number().min(0).optional(),
    model: z.string().optional(),
    role: z.enum(['system', 'developer', 'user', 'assistant']).optional(),
    parameters: z
      .strictObject({
        temperature: z.number().optional(),
        top_p: z.number().optional(),
        top_k: z.int().optional(),
        min_p: z.number().optional(),
        seed: z.int().optional(),
        frequency_penalty: z.number().optional(),
        presence_penalty: z.number().optional(),
        repeat_penalty: z.number().optional(),
        max_tokens: z.int().min(1).optional(),
        stop: z.union([z.string().transform((text) => [text]), z.array(z.string())]).optional(),
      })
      .optional(),
    variables: z.record(z.string(), variable()).optional(),
    tests: z.array(promptTest()).optional(),
  }),
);

export type Role = 'system' | 'developer' | 'user' | 'assistant';
export type PromptParameters = NonNullable<z.infer<ReturnType<typeof header>>['parameters']>;

/** One version of a prompt, read and compiled. */
export interface PromptVersion {
  readonly id: string;
  readonly version: string;
  readonly description: string | undefined;
  /** Share of the requests that name no version; absent everywhere: the newest gets all. */
  readonly weight: number | undefined;
  /** The model it was written for; used by `tidegate prompt test`. */
  readonly model: string | undefined;
  readonly parameters: PromptParameters;
  readonly variables: Readonly<Record<string, z.infer<ReturnType<typeof variable>>>>;
  readonly messages: readonly { readonly role: Role; readonly template: JinjaTemplate; readonly source: string }[];
  /** What `tidegate prompt test` tries. */
  readonly tests: readonly z.infer<ReturnType<typeof promptTest>>[];
  /** Where it was read from, for messages to its author. */
  readonly file: string;
}

/** A prompt file that cannot be used; the message names file and line. */
class PromptFileError extends Error {
  constructor(file: string, line: number | undefined, reason: string) {
    super(`${file}${line === undefined ? '' : `:${line}`}: ${reason}`);
    this.name = 'PromptFileError';
  }
}

/**
 * Reads a prompt file: YAML between two `---` lines, then Jinja. A line `@system`, `@user`, … begins a message; text
 * before the first such line belongs to the front matter's `role` (system). Roles are split before rendering, so a
 * variable can never begin a message. `partials` are texts that `{% include "name" %}` puts in.
 */
export function parsePrompt(
  path: string,
  file: string,
  text: string,
  partials: Readonly<Record<string, string>>,
): PromptVersion {
  const match = /^\uFEFF?---\r?\n(?:([\s\S]*?)\r?\n)?---[ \t]*(?:\r?\n|$)/.exec(text);
  const yaml = match?.[1] ?? '';
  const body = match ? text.slice(match[0].length) : text;
  const document = parseDocument(yaml);
  const problem = document.errors[0];
  if (problem) throw new PromptFileError(file, lineAt(yaml, problem.pos[0]) + 1, problem.message.split('\n')[0] ?? '');
  const parsed = header().safeParse(document.toJS() ?? {});
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new PromptFileError(file, undefined, `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is not valid'}`);
  }
  const { name, version, role, ...rest } = parsed.data;
  const named = /^(.*?)(?:@([^/@]+))?$/.exec(path);
  const firstLine = match ? match[0].split('\n').length : 1;
  return {
    id: name ?? named?.[1] ?? path,
    version: version ?? named?.[2] ?? '1',
    description: rest.description,
    weight: rest.weight,
    model: rest.model,
    parameters: rest.parameters ?? {},
    variables: rest.variables ?? {},
    tests: rest.tests ?? [],
    messages: splitMessages(body, role ?? 'system').map((message) => {
      try {
        const source = includePartials(message.text.trim(), partials);
        return { role: message.role, source, template: parseTemplate(source) };
      } catch (error) {
        const reason = error instanceof Error ? error.message : 'cannot be read';
        throw new PromptFileError(file, firstLine + message.line, reason);
      }
    }),
    file,
  };
}

function splitMessages(body: string, role: Role) {
  const messages: { role: Role; text: string; line: number }[] = [{ role, text: '', line: 0 }];
  for (const [line, text] of body.split(/\r?\n/).entries()) {
    const marker = /^@(system|developer|user|assistant)[ \t]*$/.exec(text);
    const last = messages.at(-1);
    if (marker) messages.push({ role: marker[1] as Role, text: '', line: line + 1 });
    else if (last) last.text += `${text}\n`;
  }
  return messages.filter(({ text }) => text.trim() !== '');
}

const maxIncludeDepth = 8;

function includePartials(text: string, partials: Readonly<Record<string, string>>, depth = 0): string {
  return text.replace(/\{%-?\s*include\s+["']([^"']+)["']\s*-?%\}/g, (_, name: string) => {
    const found = partials[name];
    if (found === undefined) throw new Error(`There is no partial '${name}' (a file of prompts/partials/).`);
    if (depth >= maxIncludeDepth) throw new Error(`The partial '${name}' includes itself.`);
    return includePartials(found.trim(), partials, depth + 1);
  });
}

const lineAt = (text: string, offset: number): number => text.slice(0, offset).split('\n').length;
