import { llamaInfill } from '../../wire/llama/infill.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';
import { answer, resumable } from '../generation.ts';
import { firstModel } from './whole-calls.ts';

/** llama-server's way to fill a gap in code, with pieces of the repository around it; editors name no model. */
export function infill(deps: HttpDeps): (c: AppContext) => Promise<Response> {
  return resumable(deps, llamaInfill.encodeError, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const body = { model: firstModel(deps, exchange.context), ...parseJsonObject(bytes) };
    await answer(deps, llamaInfill, llamaInfill.decode(body, { headers: headersOf(c) }), exchange);
  });
}
