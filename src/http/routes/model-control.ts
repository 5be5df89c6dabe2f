import * as z from 'zod';
import { GatewayError } from '../../core/errors.ts';
import { once } from '../../core/once.ts';
import { parseBody } from '../../wire/validate.ts';
import type { HttpDeps } from '../env.ts';
import { jsonRoute } from '../json.ts';

/** Brings a local model into memory, or out of it; only a root with an engine has it. */
export interface ModelControl {
  load?(name: string): Promise<void>;
  unload?(name: string): Promise<void>;
}

export const modelNameSchema = once(() => z.looseObject({ model: z.string().min(1) }));

/** `POST /models/load` and `/models/unload`, as llama-server names them. For administrators. */
export const controlModel = (deps: HttpDeps, control: ModelControl | undefined, action: 'load' | 'unload') =>
  jsonRoute(deps, async (body, { context, json }) => {
    const { model } = parseBody(modelNameSchema(), body);
    if (context.caller.role !== 'admin') {
      throw new GatewayError('forbidden', 'Only an administrator may load and unload models.');
    }
    const { name } = deps.gateway.model(model, context);
    const act = control?.[action];
    if (!act) throw new GatewayError('unsupported', 'This gateway has no local engine.', { param: 'model' });
    await act.call(control, name);
    json({ success: true, model: name });
  });
