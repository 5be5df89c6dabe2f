import { GatewayError } from '../../core/errors.ts';
import type { PromptFacts } from '../../core/provider.ts';
import type { WireFormat } from '../../wire/format.ts';
import { llamaCompletion } from '../../wire/llama/completion.ts';
import { llamaInfill } from '../../wire/llama/infill.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';
import { answer, resumable } from '../generation.ts';
import { getRoute } from '../json.ts';
import { firstModel } from './whole-calls.ts';

/** llama-server's own routes: its clients name no model. */
const llamaRoute =
  (format: WireFormat) =>
  (deps: HttpDeps): ((c: AppContext) => Promise<Response>) =>
    resumable(deps, format.encodeError, async (c, exchange) => {
      const bytes = await readBody(c, deps.options.maxBodyBytes);
      const body = { model: firstModel(deps, exchange.context), ...parseJsonObject(bytes) };
      await answer(deps, format, format.decode(body, { headers: headersOf(c) }), exchange);
    });

/** Fills a gap in code, with pieces of the repository around it. */
export const infill = llamaRoute(llamaInfill);

/** Goes on from a text. */
export const llamaCompletions = llamaRoute(llamaCompletion);

/** A picture, frame or link of another site: browsers name no origin for those, and nobody else asked whether it may. */
const isForeignView = (headers: Readonly<Record<string, string>>): boolean =>
  headers['sec-fetch-site'] === 'cross-site' && headers['origin'] === undefined;

/** A route that tells of a model (`?model=`, else the first one) what its prompts are made with. */
const factsRoute =
  (encode: (facts: PromptFacts, name: string) => object) =>
  (deps: HttpDeps): ((c: AppContext) => Promise<Response>) =>
    getRoute(deps, async ({ context, json }, c) => {
      if (isForeignView(context.headers)) {
        throw new GatewayError('forbidden', 'Pages of other sites may not have this gateway load a model.');
      }
      const name = c.req.query('model') ?? firstModel(deps, context);
      const { value } = await deps.gateway.call(
        { model: name, use: ({ provider, model }, options) => provider.promptFacts?.({ model }, options) },
        context,
      );
      json(encode(value, name));
    });

/** llama-server's `GET /props`. */
export const props = factsRoute(({ contextTokens, slots, chatTemplate = '', bosText, eosText }, name) => ({
  default_generation_settings: { n_ctx: contextTokens, params: {} },
  total_slots: slots,
  model_alias: name,
  modalities: { vision: false, audio: false },
  chat_template: chatTemplate,
  bos_token: bosText,
  eos_token: eosText,
}));

/** vLLM's `GET /tokenizer_info`, by which lm-eval counts with our tokenizer. */
export const tokenizerInfo = factsRoute(({ contextTokens, chatTemplate = null, bosText, eosText }) => ({
  model_max_length: contextTokens,
  chat_template: chatTemplate,
  bos_token: bosText || null,
  eos_token: eosText || null,
}));
