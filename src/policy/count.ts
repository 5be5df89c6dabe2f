import { type ChatRequest, textOf } from '../core/request.ts';
import type { Route, Target } from '../core/route.ts';
import { estimatePromptTokens } from './estimate.ts';

type Count = (text: string) => number;

/** Longer prompts are estimated: counting them would hold up everybody. */
const mostCharacters = 200_000;
const messageOverhead = 4;

/**
 * Counts prompts exactly where that costs nothing to speak of: the local engine counts its own, OpenAI's models have a
 * public tokenizer (loaded when first needed: 30 MB). Undefined for others, which are estimated.
 */
export function createTokenCounter(targetsOf: (model: string) => readonly Target[]) {
  return (request: ChatRequest, route: Route, signal: AbortSignal): Promise<number> | undefined => {
    const [target] = targetsOf(route.name);
    if (!target) return undefined;
    const { provider, model } = target;
    if (provider.capabilities.local) return provider.countTokens?.({ ...request, model }, { signal });
    const encoding = encodingOf(model);
    return encoding && countWith(encoding, request);
  };
}

/** The tokenizer of a hosted model, by its name as OpenAI gives it. */
function encodingOf(model: string): 'o200k_base' | 'cl100k_base' | undefined {
  const name = model.replace(/^(openai|azure)[/.:]/, '');
  if (/^(gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|chatgpt-|o[1-9])/.test(name)) return 'o200k_base';
  return /^(gpt-4|gpt-3\.5|text-embedding-)/.test(name) ? 'cl100k_base' : undefined;
}

async function countWith(encoding: 'o200k_base' | 'cl100k_base', request: ChatRequest): Promise<number> {
  const estimate = estimatePromptTokens(request);
  if (estimate * 4 > mostCharacters) return estimate;
  const count = await load(encoding);
  const { prompt } = request;
  if (prompt) return typeof prompt.text === 'string' ? count(prompt.text) : prompt.text.length;
  const others = request.messages.some(({ content }) => content.some(({ type }) => type !== 'text'));
  if (others || request.tools.length > 0) return estimate; // images and tools have no public count
  return request.messages.reduce((sum, { content }) => sum + messageOverhead + count(textOf(content)), 3);
}

const loaded = new Map<string, Promise<Count>>();

function load(encoding: 'o200k_base' | 'cl100k_base'): Promise<Count> {
  let count = loaded.get(encoding);
  if (!count) {
    const module =
      encoding === 'o200k_base'
        ? import('gpt-tokenizer/encoding/o200k_base')
        : import('gpt-tokenizer/encoding/cl100k_base');
    // Special tokens in a user's text are text: refusing them would let a prompt fail its own counting.
    count = module.then(
      ({ countTokens }) =>
        (text) =>
          countTokens(text, { disallowedSpecial: new Set<string>() }),
    );
    loaded.set(encoding, count);
  }
  return count;
}
