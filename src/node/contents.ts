import { once } from '../core/once.ts';
import type { Watcher } from '../core/record.ts';
import { type ChatRequest, textOf } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import { filtersSchema } from '../filters/config.ts';
import { createFilters } from '../filters/index.ts';
import { tryFilters } from '../filters/try.ts';
import type { contentTable } from '../ledger/contents.ts';

/** Everything that looks like a person's data or a credential, whatever the routes' own filters do. */
const masks = {
  secrets: { kind: 'patterns', preset: 'secrets', action: 'mask' },
  personal: { kind: 'pii', action: 'mask' },
};

/** Keeps prompts and answers of all requests, masked and cut to `maxCharacters` each, once they have ended. */
export function contentWatcher(
  table: ReturnType<typeof contentTable>,
  { maxCharacters: most, warn }: { readonly maxCharacters: () => number; readonly warn: (error: unknown) => void },
): Watcher {
  const filters = once(() => createFilters(filtersSchema().parse(masks)));
  const route = { name: 'audit', filters: Object.keys(masks) };
  const mask = async (text: string, context: RequestContext): Promise<string> => {
    const free = { ...context, signal: new AbortController().signal }; // the client may be gone
    return (await tryFilters(filters(), route, { text: text.slice(0, most()), side: 'input' }, free)).output;
  };
  return (request, context) => {
    const maxCharacters = most();
    const prompt = promptOf(request, maxCharacters);
    let answer = '';
    return {
      event(event) {
        if (event.type === 'text-delta' && answer.length < maxCharacters) answer += event.text;
      },
      ended({ startedAt, callerId, requestId }) {
        const write = async () => {
          const [maskedPrompt, maskedAnswer] = await Promise.all([mask(prompt, context), mask(answer, context)]);
          const id = context.answerId ?? requestId;
          await table.add({
            requestId: id,
            callerId,
            at: Math.round(startedAt),
            prompt: maskedPrompt,
            answer: maskedAnswer,
          });
        };
        write().catch(warn);
      },
    };
  };
}

function promptOf({ prompt, messages }: ChatRequest, most: number): string {
  if (prompt) return typeof prompt.text === 'string' ? prompt.text.slice(0, most) : '';
  let text = '';
  for (const { role, content } of messages) {
    text += `${role}: ${textOf(content)}\n`;
    if (text.length > most) break;
  }
  return text.slice(0, most);
}
