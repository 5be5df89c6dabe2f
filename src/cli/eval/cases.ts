import * as z from 'zod';
import { CliError } from '../cli.ts';

const text = z.union([z.string(), z.array(z.string()).min(1)]);

/** What an answer must be; a list of texts means any of them for `equals`, all of them for the others. */
const checksSchema = z.strictObject({
  equals: text.optional().describe('the whole answer, white space at its ends aside'),
  contains: text.optional().describe('upper and lower case are the same'),
  notContains: text.optional(),
  matches: z.string().optional().describe('a regular expression (RE2) that is found in the answer'),
  json: z.boolean().optional().describe('valid JSON, a Markdown fence around it aside'),
  jsonSchema: z.record(z.string(), z.unknown()).optional().describe('JSON that fits this schema'),
  minWords: z.int().min(0).optional(),
  maxWords: z.int().min(0).optional(),
  finish: z.string().optional().describe('the finish reason'),
  maxTtftMs: z.number().positive().optional(),
  maxTotalMs: z.number().positive().optional(),
  judge: z.string().optional().describe('a statement that the judging model must call true'),
});

const caseSchema = z
  .strictObject({
    id: z.string().optional(),
    prompt: z.string().optional(),
    system: z.string().optional(),
    messages: z.array(z.looseObject({ role: z.string() })).optional(),
    params: z.record(z.string(), z.unknown()).default({}).describe('further fields of the request'),
    checks: checksSchema.default({}),
  })
  .refine(({ prompt, messages }) => (prompt === undefined) !== (messages === undefined), {
    message: 'a case has either "prompt" or "messages"',
  });

export type Checks = z.infer<typeof checksSchema>;
export type EvalCase = z.infer<typeof caseSchema> & { readonly id: string };

/** Cases from JSON lines. Throws CliError with every line that is wrong. */
export function parseCases(content: string, file: string): readonly EvalCase[] {
  const problems: string[] = [];
  const cases = content.split('\n').flatMap((line, at) => {
    if (line.trim() === '' || line.trimStart().startsWith('//')) return [];
    const where = `${file}, line ${at + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      problems.push(`${where}: ${error instanceof Error ? error.message : 'no JSON'}`);
      return [];
    }
    const parsed = caseSchema.safeParse(value);
    if (parsed.success) return [{ ...parsed.data, id: parsed.data.id ?? `line ${at + 1}` }];
    for (const { path, message } of parsed.error.issues) problems.push(`${where}: ${[...path, message].join(': ')}`);
    return [];
  });
  if (problems.length > 0) throw new CliError(problems.join('\n'));
  if (cases.length === 0) throw new CliError(`${file} holds no cases.`);
  const twice = cases.find(({ id }, at) => cases.findIndex((other) => other.id === id) !== at);
  if (twice) throw new CliError(`${file}: the id "${twice.id}" is there twice.`);
  return cases;
}
