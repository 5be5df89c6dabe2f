import type { Result, Router } from 'hono/router';

interface Entry<T> {
  readonly method: string;
  readonly handler: T;
  /** Of being added: the first of those that match answers. */
  readonly order: number;
}

interface Pattern<T> extends Entry<T> {
  /** What every path of it begins with; most paths are sorted out by it. */
  readonly prefix: string;
  readonly names: readonly string[];
  readonly source: string;
  expression?: RegExp;
}

/**
 * Most of our paths are exact, so a map finds them, and the others are few. Hono's own router makes one expression of
 * all hundred and fifty when the first request comes: an eighth of what that request costs a worker. Here no handler
 * calls the next one, so only the first that matches is given.
 */
export function createRouter<T>(): Router<T> {
  const exact = new Map<string, Entry<T>[]>();
  const patterns: Pattern<T>[] = [];
  let added = 0;
  return {
    name: 'TidegateRouter',
    add(method, path, handler) {
      const entry = { method, handler, order: added++ };
      if (/[:*]/.test(path)) patterns.push({ ...entry, ...patternOf(path) });
      else exact.set(path, [...(exact.get(path) ?? []), entry]);
    },
    match(method, path): Result<T> {
      const found = exact.get(path)?.find((entry) => takes(entry, method));
      for (const pattern of patterns) {
        if (found && found.order < pattern.order) break;
        if (!takes(pattern, method) || !path.startsWith(pattern.prefix)) continue;
        pattern.expression ??= new RegExp(pattern.source, 's');
        const values = pattern.expression.exec(path);
        if (!values) continue;
        const params = Object.fromEntries(pattern.names.map((name, index) => [name, values[index + 1] ?? '']));
        return [[[pattern.handler, params]]];
      }
      return [found ? [[found.handler, {}]] : []];
    },
  };
}

const takes = (entry: Entry<unknown>, method: string) => entry.method === method || entry.method === 'ALL';

/** `/a/:id`, `/a/:id{.+}`, `/a/*`. */
function patternOf(path: string): { prefix: string; names: readonly string[]; source: string } {
  const names: string[] = [];
  const parts = path.split('/').map((part) => {
    const [, name, expression = '[^/]+'] = /^:(\w+)(?:\{(.+)\})?$/.exec(part) ?? [];
    if (name !== undefined) {
      names.push(name);
      return `(${expression})`;
    }
    return part === '*' ? '.*' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  });
  return { prefix: path.slice(0, path.search(/[:*]/)), names, source: `^${parts.join('/')}$` };
}
