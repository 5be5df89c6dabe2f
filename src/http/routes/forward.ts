import { GatewayError } from '../../core/errors.ts';
import type { ForwardRequest } from '../../core/provider.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { readForm } from '../../wire/openai/files.ts';
import { missingParameter } from '../../wire/validate.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { endpoint } from '../endpoint.ts';
import { type HttpDeps, headersOf } from '../env.ts';

/** A body with the model it names, and how to write the body with another name in its place. */
interface ModelBody {
  readonly model: string;
  readonly withModel: (model: string) => Promise<Pick<ForwardRequest, 'headers' | 'body'>>;
}

/**
 * Audio and images: we translate nothing here. The body goes to a target that speaks OpenAI, with its own model name in
 * place of ours, and the answer comes back as it is; a model whose target can't is refused openly.
 */
export const forward = (deps: HttpDeps, path: string) =>
  endpoint(deps, encodeError, async (c, { context, sink, headers }) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const { model: asked, withModel } = await modelBody(bytes, headersOf(c)['content-type'] ?? '');
    const { target, value } = await deps.gateway.call(
      {
        model: asked,
        use: ({ provider, model }, options) =>
          provider.forward &&
          withModel(model).then((body) => provider.forward?.({ path, method: 'POST', ...body }, options)),
      },
      context,
    );
    if (!value) throw new GatewayError('unsupported', `The model '${asked}' cannot do this.`, { param: 'model' });
    const { 'content-type': type = 'application/octet-stream', 'content-length': length } = value.headers;
    sink.start(value.status, {
      ...headers,
      'content-type': type,
      ...(length === undefined ? {} : { 'content-length': length }),
      'x-tidegate-target': target,
    });
    for await (const piece of value.body) {
      const slow = sink.write(piece);
      if (slow) await slow;
      if (sink.gone) break;
    }
    sink.end();
  });

async function modelBody(bytes: Uint8Array, contentType: string): Promise<ModelBody> {
  if (contentType.toLowerCase().startsWith('multipart/form-data')) return formBody(bytes, contentType);
  const json = parseJsonObject(bytes);
  const { model } = json;
  if (typeof model !== 'string' || model === '') throw missingParameter('model');
  return {
    model,
    withModel: async (name) => ({
      headers: { 'content-type': 'application/json' },
      body: new TextEncoder().encode(JSON.stringify({ ...json, model: name })),
    }),
  };
}

async function formBody(bytes: Uint8Array, contentType: string): Promise<ModelBody> {
  const form = await readForm(bytes, contentType);
  const model = form.get('model');
  if (typeof model !== 'string' || model === '') throw missingParameter('model');
  return {
    model,
    withModel: async (name) => {
      form.set('model', name);
      const written = new Response(form);
      return {
        headers: { 'content-type': written.headers.get('content-type') ?? contentType },
        body: new Uint8Array(await written.arrayBuffer()),
      };
    },
  };
}
