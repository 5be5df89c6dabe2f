import type { Json, JsonObject } from '../../src/core/json.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import { effortOf, ignoredByClaude, takesSamplers, thinkingOf } from '../anthropic/request.ts';
import { thinkingBudget } from '../shared/content.ts';
import { thinkingField } from '../shared/ignored.ts';

const others =
  /\b(?:amazon|ai21|cohere|deepseek|google|meta|minimax|mistral|moonshot\w*|nvidia|openai|qwen|writer|zai)\./;

/** Also a profile of one's own (an ARN), whose name does not tell the model. */
export const isClaude = (model: string): boolean => !others.test(model);
const isNova = (model: string): boolean => model.includes('amazon.nova');

/** Other models refuse cache points (https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html). */
export const cachesPrompts = (model: string): boolean => isClaude(model) || isNova(model);

export const samplesTopK = ({ model }: ChatRequest): boolean =>
  isClaude(model) || isNova(model) || model.includes('mistral.');

const samples = (request: ChatRequest): boolean => !isClaude(request.model) || takesSamplers(request);

export function samplersOf(request: ChatRequest): { temperature?: number | undefined; topP?: number | undefined } {
  const { temperature, topP } = request.sampling;
  return samples(request) ? { temperature, topP } : {};
}

/** What Converse has no words for, as each maker's own API has it. */
export function modelFields(request: ChatRequest): JsonObject {
  const { model, sampling } = request;
  const fields: Record<string, Json> = {};
  if (sampling.topK && samplesTopK(request) && samples(request)) {
    if (isNova(model)) fields['inferenceConfig'] = { topK: sampling.topK };
    else fields['top_k'] = sampling.topK;
  }
  const level = levelOf(request);
  if (!isClaude(model)) {
    if (level && model.includes('openai.')) fields['reasoning_effort'] = level;
    if (level && model.includes('amazon.nova-2')) {
      // at the highest effort it takes no limits of one's own (https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html)
      const free = request.maxTokens === undefined && sampling.temperature === undefined && sampling.topP === undefined;
      fields['reasoningConfig'] = { type: 'enabled', maxReasoningEffort: level === 'high' && !free ? 'medium' : level };
    }
    return fields;
  }
  const [thinking, effort] = [thinkingOf(request), effortOf(request)];
  if (thinking) fields['thinking'] = thinking;
  if (effort !== undefined) fields['output_config'] = { effort };
  return fields;
}

/** How hard to think, for models that are told in three words. */
function levelOf(request: ChatRequest): 'low' | 'medium' | 'high' | undefined {
  const budget = thinkingBudget(request);
  if (!budget) return undefined;
  return budget <= 2048 ? 'low' : budget <= 8192 ? 'medium' : 'high';
}

/** What this maker's models do without. */
export function ignoredByModel(request: ChatRequest): string[] {
  const { model } = request;
  if (isClaude(model)) return ignoredByClaude(request);
  const thinks = model.includes('openai.') || model.includes('amazon.nova-2');
  return thinkingBudget(request) && !thinks ? [`field '${thinkingField(request)}'`] : [];
}
