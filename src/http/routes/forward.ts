import { GatewayError } from '../../core/errors.ts';
import type { Json } from '../../core/json.ts';
import type { ForwardRequest } from '../../core/provider.ts';
import { plainRequest } from '../../core/request.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { readForm } from '../../wire/openai/files.ts';
import { missingParameter } from '../../wire/validate.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { endpoint } from '../endpoint.ts';
import { type HttpDeps, headersOf } from '../env.ts';

/** A body with the model it names, and how to write the body with another name in its place. */
interface ModelBody {
  readonly model: string;
  /** The values of its fields. */
  readonly fields: readonly Json[];
  readonly withModel: (model: string, fields: readonly Json[]) => Promise<Pick<ForwardRequest, 'headers' | 'body'>>;
}

/**
 * Audio and images: we translate nothing here. The body goes to a target that speaks OpenAI, with its own model name in
 * place of ours, and the answer comes back as it is; a model whose target can't is refused openly.
 */
export const forward = (deps: HttpDeps, path: string) =>
  endpoint(deps, encodeError, async (c, { context, sink, headers }) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const { model: asked, fields, withModel } = await modelBody(bytes, headersOf(c)['content-type'] ?? '');
    const { target, value } = await deps.gateway.call(
      {
        model: asked,
        holds: { ...plainRequest(asked), extensions: { fields } },
        use: ({ provider, model }, options, { extensions }) =>
          provider.forward &&
          // Filters leave a list a list.
          withModel(model, extensions['fields'] as readonly Json[]).then((body) =>
            provider.forward?.({ path, method: 'POST', ...body }, options),
          ),
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
    fields: Object.values(json) as Json[], // it was parsed from JSON
    withModel: async (name, fields) => {
      const filtered = Object.fromEntries(Object.keys(json).map((key, at) => [key, fields[at]]));
      return {
        headers: { 'content-type': 'application/json' },
        body: new TextEncoder().encode(JSON.stringify({ ...filtered, model: name })),
      };
    },
  };
}

async function formBody(bytes: Uint8Array, contentType: string): Promise<ModelBody> {
  const form = await readForm(bytes, contentType);
  const model = form.get('model');
  if (typeof model !== 'string' || model === '') throw missingParameter('model');
  const entries = [...form];
  return {
    model,
    fields: entries.map(([, value]) => (typeof value === 'string' ? value : null)), // a file's bytes are not text
    withModel: async (name, fields) => {
      const filtered = new FormData();
      for (const [at, [key, value]] of entries.entries()) {
        if (typeof value === 'string') filtered.append(key, String(fields[at]));
        else filtered.append(key, value, value.name);
      }
      filtered.set('model', name);
      const written = new Response(filtered);
      return {
        headers: { 'content-type': written.headers.get('content-type') ?? contentType },
        body: new Uint8Array(await written.arrayBuffer()),
      };
    },
  };
}
