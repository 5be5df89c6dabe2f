import { defaultModel } from '../../src/models/catalogue.ts';
import { pullModel } from '../../src/models/pull.ts';
import { modelSettings } from '../../src/models/settings.ts';

/** Path of the default model's file, fetched once; null (with a reason) where it can't be had. CI never goes without. */
export async function modelPath(): Promise<string | null> {
  try {
    return (await pullModel(defaultModel, { settings: modelSettings() })).path;
  } catch (error) {
    if (process.env['CI']) throw error;
    console.warn(`skipped: the default model is not here: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}
