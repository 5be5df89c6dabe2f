import { GatewayError } from '../../src/core/errors.ts';
import type { Capabilities } from '../../src/core/provider.ts';
import { answerForms, type ChatRequest, serverWorkOf } from '../../src/core/request.ts';

/**
 * Refuses what the target cannot do, naming the field, rather than dropping it in silence. `reasoning`, `seed` and
 * `user` are wishes, not demands: a target that does not know them still answers the question that was asked. A request
 * with its wire form is one that would go out as it was sent.
 */
export function assertSupported(request: ChatRequest, able: Capabilities, provider: string): void {
  const refuse = (param: string, what: string): never => {
    throw new GatewayError('unsupported', `${provider} (${request.model}) does not support ${what}.`, { param });
  };
  const { wire, onlyAsSent } = request;
  if (onlyAsSent && !(wire && !wire.mustSay && able.dialects.includes(wire.dialect))) {
    refuse(onlyAsSent.param, onlyAsSent.what);
  }
  if (!able.dialects.includes(request.dialect)) {
    const unable = serverWorkOf(request) ?? answerForms.find((name) => request.extensions[name] !== undefined);
    if (unable !== undefined) refuse(unable, unable);
  }
  if (request.prompt && !able.completions) refuse('prompt', 'text completions');
  if (request.prompt?.files && !able.local) refuse('input_extra', 'filling a gap with pieces of a repository');
  if (request.tools.length > 0) {
    if (!able.tools) refuse('tools', 'tools');
    if (request.toolChoice !== 'auto' && request.toolChoice !== 'none' && !able.toolChoice) {
      refuse('tool_choice', 'a forced tool choice');
    }
    if (!request.parallelToolCalls && !able.parallelToolCalls) refuse('parallel_tool_calls', 'parallel_tool_calls');
  }
  if (request.choices > 1 && !able.choices) refuse('n', 'more than one choice');
  if (request.logprobs && !able.logprobs) refuse('logprobs', 'logprobs');
  if (request.stop.length > 0 && !able.stop) refuse('stop', 'stop sequences');
  if (request.sampling.logitBias && !able.logitBias) refuse('logit_bias', 'logit_bias');
  if (!able.penalties) {
    if (request.sampling.frequencyPenalty) refuse('frequency_penalty', 'penalties');
    if (request.sampling.presencePenalty) refuse('presence_penalty', 'penalties');
  }
  if (request.continueFinalMessage && !able.prefill) refuse('messages', 'continuing a given answer');
  const { type } = request.responseFormat;
  if (type === 'json-object' && !able.jsonObject && !able.jsonSchema) refuse('response_format', 'JSON output');
  if (type === 'json-schema' && !able.jsonSchema) refuse('response_format', 'JSON schemas');
  if (type === 'grammar' && !able.grammar) refuse('grammar', 'grammars');
  if (able.images && able.audio) return;
  for (const [index, message] of request.messages.entries()) {
    for (const part of message.content) {
      if (part.type === 'image' && !able.images) refuse(`messages[${index}].content`, 'images');
      if (part.type === 'audio' && !able.audio) refuse(`messages[${index}].content`, 'audio');
    }
  }
}
