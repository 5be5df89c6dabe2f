import { createContext, Script } from 'node:vm';

/** Thrown by `bounded`. */
export class TookTooLong extends Error {}

/** Runs `work`, made from a stranger's text, for so long at most: V8 ends it from another thread, also in an endless loop. */
export function bounded<T>(maxMs: number, work: () => T): T {
  sandbox['work'] = work;
  try {
    return runWork.runInContext(sandbox, { timeout: maxMs }) as T; // what `work` returned
  } catch (error) {
    // No instance of this realm's Error: the sandbox has its own.
    if (Object(error).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      throw new TookTooLong(`It took longer than ${maxMs} ms.`, { cause: error });
    throw error;
  }
}
const sandbox = createContext({}) as Record<string, unknown>; // only ever holds `work`
const runWork = new Script('work()');
