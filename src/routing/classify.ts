import { GatewayError } from '../core/errors.ts';
import { type ChatRequest, type Message, plainRequest } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import { abortError } from '../core/signals.ts';
import { lastUserText } from './facts.ts';
import type { ClassifierRule } from './model.ts';

const mostCharacters = 2000;

/**
 * The label that a small model gives to the last user message; empty when it gives none in time. A target with grammars
 * can only answer with a label; of any other the answer's beginning counts.
 */
export async function classify(
  { target, labels, timeoutMs }: ClassifierRule,
  request: ChatRequest,
  context: RequestContext,
): Promise<string> {
  const names = Object.keys(labels);
  const { grammar } = target.provider.capabilities;
  const lines = Object.entries(labels).map(([label, meaning]) => `${label}: ${meaning}`);
  const say = (role: 'system' | 'user', text: string): Message => ({ role, content: [{ type: 'text', text }] });
  const question: ChatRequest = {
    ...plainRequest(target.model, [
      say('system', `Sort the message into one of these kinds. Answer with the kind's name only.\n${lines.join('\n')}`),
      say('user', lastUserText(request).slice(0, mostCharacters)),
    ]),
    sampling: { temperature: 0 },
    maxTokens: 16,
    toolChoice: 'none',
    parallelToolCalls: false,
    ...(grammar && {
      responseFormat: { type: 'grammar', grammar: `root ::= ${names.map((name) => JSON.stringify(name)).join(' | ')}` },
    }),
    priority: 'interactive',
  };
  const controller = new AbortController();
  const onClient = () => controller.abort(abortError(context.signal));
  context.signal.addEventListener('abort', onClient, { once: true });
  const late = new Promise<string>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(''), { once: true });
  });
  const timer = setTimeout(() => controller.abort(new GatewayError('timeout', 'The classifier is late.')), timeoutMs);
  const ask = async () => {
    let said = '';
    const options = { signal: controller.signal, tenant: context.caller.tenant };
    for await (const event of target.provider.stream(question, options)) {
      if (event.type === 'text-delta') said += event.text;
    }
    const answer = said.trim().toLowerCase();
    const longestFirst = [...names].sort((a, b) => b.length - a.length);
    return longestFirst.find((name) => answer.startsWith(name.toLowerCase())) ?? '';
  };
  try {
    return await Promise.race([ask().catch(() => ''), late]); // without a label the request goes its usual way
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener('abort', onClient);
    controller.abort();
  }
}
