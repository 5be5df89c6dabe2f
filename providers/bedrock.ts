import type { CompletionEvent } from '../src/core/event.ts';
import { type CallOptions, type Capabilities, noCapabilities, type Provider } from '../src/core/provider.ts';
import type { ChatRequest } from '../src/core/request.ts';
import { createConverseDecoder, decodeEventStream } from './bedrock/answer.ts';
import { encodeConverse, ignoredByConverse } from './bedrock/request.ts';
import { withCallIds } from './shared/call-ids.ts';
import { readJsonTool, withJsonTool } from './shared/json-tool.ts';
import { createReasoningMemory } from './shared/reasoning-memory.ts';
import { assertSupported } from './shared/supported.ts';
import { type SignRequest, type Upstream, withBearer } from './shared/upstream.ts';

/** JSON formats are emulated through a tool that must be called: Converse itself has none. */
export const bedrockCapabilities: Capabilities = {
  ...noCapabilities,
  tools: true,
  toolChoice: true,
  jsonObject: true,
  jsonSchema: true,
  images: true,
  stop: true,
  reasoning: true,
  prefill: true,
};

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** Signature version 4; a caller's own key is a Bedrock API key, which is a bearer token. */
export function signForAws(credentials: AwsCredentials, region: string): SignRequest {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  return async (request, own) => {
    if (own !== undefined) return withBearer(request, own);
    const { AwsV4Signer } = await import('aws4fetch');
    const signer = new AwsV4Signer({
      method: request.method,
      url: request.url,
      headers: { ...request.headers },
      body: (request.body ?? '') as string | Uint8Array<ArrayBuffer>, // over any buffer; the DOM types only name ArrayBuffer
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: 'bedrock',
      region,
    });
    const { headers } = await signer.sign();
    return { ...request, headers: Object.fromEntries(headers) };
  };
}

export interface BedrockOptions {
  readonly name: string;
  readonly upstream: Upstream;
  readonly capabilities?: Capabilities;
}

/** Amazon Bedrock through Converse (https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference.html). */
export function bedrock({ name, upstream, capabilities = bedrockCapabilities }: BedrockOptions): Provider {
  const memory = createReasoningMemory();

  async function* converse(request: ChatRequest, options: CallOptions): AsyncGenerator<CompletionEvent> {
    const path = `/model/${encodeURIComponent(request.model)}/converse-stream`;
    const headers = { accept: 'application/vnd.amazon.eventstream' };
    const response = await upstream.send({ path, headers, body: JSON.stringify(encodeConverse(request)) }, options);
    const decoder = createConverseDecoder(request.stop);
    for await (const event of decodeEventStream(response.body)) yield* decoder.push(event);
    yield* decoder.end();
  }

  return {
    name,
    capabilities,
    async *stream(asks, options) {
      const request = withCallIds(asks, /^[\w-]{1,64}$/);
      assertSupported(request, capabilities, name);
      const asked = withJsonTool(memory.restore(request, options.tenant));
      const events = memory.watch(converse(asked, options), options.tenant);
      yield* asked.tools.length === request.tools.length ? events : readJsonTool(events);
    },
    ignores: (request) => ignoredByConverse(withJsonTool(request), capabilities),
  };
}
