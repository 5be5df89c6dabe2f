import { expect } from 'vitest';
import { decodeDelivered } from '../../../providers/delivered.ts';
import { createProvider, providerConfigSchema } from '../../../providers/registry.ts';
import { type AssistantMessage, type ChatRequest, textOf } from '../../../src/core/request.ts';
import type { Target } from '../../../src/core/route.ts';
import { createRouting } from '../../../src/routing/attempt.ts';
import type { RouteRules } from '../../../src/routing/model.ts';
import { appWith } from '../../app.ts';
import type { FaultyUpstream } from '../../faulty-upstream.ts';
import { transport } from '../../providers/support.ts';
import { scripted } from '../../scripted.ts';
import { rules, type Step, text, upstream, usage } from '../harness.ts';

/** The answer of every test here. */
export const whole = 'Hello world, how is the tide?';
export const call = { id: 'call_1', name: 'tide', args: '{"city":"Brest","days":[1,2]}' };

/** Knows the answer (a text, then a call) and goes on from wherever the last message stops. */
function knowing() {
  const script = (request: ChatRequest): Step[] => {
    const last = request.messages.at(-1);
    const begun: AssistantMessage | undefined =
      request.continueFinalMessage && last?.role === 'assistant' ? last : undefined;
    const said = textOf(begun?.content ?? []);
    const open = begun?.toolCalls.at(-1);
    expect(whole.startsWith(said)).toBe(true);
    expect(call.args.startsWith(open?.arguments ?? '')).toBe(true);
    const rest = call.args.slice(open?.arguments.length ?? 0);
    return [
      ...(said === whole ? [] : [text(whole.slice(said.length))]),
      ...(open
        ? []
        : [{ type: 'tool-call-start', choice: 0, index: 0, id: 'call_2', name: call.name, kind: 'function' } as const]),
      ...(rest === '' ? [] : [{ type: 'tool-call-delta', choice: 0, index: 0, arguments: rest } as const]),
      { type: 'finish', choice: 0, reason: 'tool-calls' },
      usage(20, 3),
    ];
  };
  return upstream('healthy', [script], { prefill: true, tools: true });
}

export function targetOver({ baseUrl }: FaultyUpstream, type: string, name: string): Target {
  const config = providerConfigSchema().parse({ type, baseUrl, apiKey: 'k' });
  return { name: `${name}/m`, model: 'm', provider: createProvider(name, config, { transport }) };
}

/** A gateway whose first target is `broken`, an upstream of this type, and whose second one knows the answer. */
export function appOver(
  broken: FaultyUpstream,
  type: string,
  second: Target = knowing(),
  change: Partial<RouteRules> = {},
) {
  const targets = [targetOver(broken, type, 'broken'), second];
  const model = { name: 'test', filters: [], targets, rules: rules(targets, change) };
  return appWith(scripted([]), { routing: createRouting([model], undefined, { decodeWire: decodeDelivered }) });
}

export const post = (app: ReturnType<typeof appOver>, path: string, body: object) =>
  app.request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'test', stream: true, ...body }),
  });

/** What a client reads out of a stream; tests look into it freely. */
// biome-ignore lint/suspicious/noExplicitAny: events of three formats
export type Data = any;
export const dataOf = (body: string): Data[] =>
  body
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)));

export const pieces = (value: string) => value.match(/.{1,8}/gs) ?? [];
