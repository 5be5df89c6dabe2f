import type { Usage } from '../../src/core/event.ts';
import type { JsonObject } from '../../src/core/json.ts';

/** What an upstream calls its counts. */
interface CountNames {
  readonly input: string;
  readonly output: string;
  readonly cacheRead: string;
  readonly cacheWritten: string;
}

/** Usage of an upstream that counts cached tokens apart; our prompt tokens include them. Undefined where it told none. */
export function usageBesideCache(raw: JsonObject, names: CountNames): Usage | undefined {
  const count = (name: string) => (typeof raw[name] === 'number' ? raw[name] : undefined);
  const [input, output] = [count(names.input), count(names.output)];
  if (input === undefined && output === undefined) return undefined;
  const [read, written] = [count(names.cacheRead), count(names.cacheWritten)];
  return {
    promptTokens: (input ?? 0) + (read ?? 0) + (written ?? 0),
    completionTokens: output ?? 0,
    ...(read === undefined ? {} : { cachedTokens: read }),
    ...(written === undefined ? {} : { cacheWriteTokens: written }),
  };
}
