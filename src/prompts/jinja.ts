import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';

/** A parsed template. Rendering reads no files, runs no code and ends: steps, text and ranges are counted. */
export interface JinjaTemplate {
  render(variables: Readonly<Record<string, unknown>>): string;
}

const maxSteps = 50_000;
const maxCharacters = 8 * 1024 * 1024;
const maxRange = 1_000;

/** Thrown when a template wants more than it may; the message says what. */
export class TemplateLimitError extends Error {
  override readonly name = 'TemplateLimitError';
}

/** Throws SyntaxError or Error where the template cannot be read. */
export function parseTemplate(source: string): JinjaTemplate {
  const program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  return {
    render(variables) {
      const environment = new Environment();
      for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
      const result = new CountingInterpreter(environment).run(program);
      return String(result.value);
    },
  };
}

class CountingInterpreter extends Interpreter {
  private steps = 0;
  private characters = 0;

  override evaluate(...args: Parameters<Interpreter['evaluate']>): ReturnType<Interpreter['evaluate']> {
    this.count(1);
    const result = super.evaluate(...args);
    // A list costs its length each time: a loop with nothing in it evaluates nothing else.
    if (Array.isArray(result.value)) this.count(result.value.length);
    else if (result.value instanceof Map) this.count(result.value.size);
    if (typeof result.value === 'string') {
      this.characters += result.value.length;
      if (this.characters > maxCharacters) {
        throw new TemplateLimitError(`The template makes more than ${maxCharacters} characters of text.`);
      }
    }
    return result;
  }

  private count(steps: number): void {
    this.steps += steps;
    if (this.steps > maxSteps) throw new TemplateLimitError(`The template needs more than ${maxSteps} steps.`);
  }
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (!(Math.abs(step) > 0)) throw new TemplateLimitError('range() needs a step other than 0.');
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= maxRange)) throw new TemplateLimitError(`range() gives at most ${maxRange} numbers.`);
  return Array.from({ length }, (_, index) => from + index * step);
}

const globals = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  raise_exception: (message: unknown) => {
    throw new Error(String(message));
  },
};
