import { GatewayError } from '../../core/errors.ts';
import { isJsonObject, type Json } from '../../core/json.ts';
import { answerForms, type ChatRequest, serverWorkOf } from '../../core/request.ts';
import { followedFields } from '../request.ts';

/**
 * Fields of llama-server, vLLM and SGLang that would change the answer and that this engine does not follow. Whatever
 * else it does not know is told, not refused: it may be meant for somebody on the way.
 */
const notFollowed: readonly string[] = [
  // sampling
  'samplers n_predict n_probs post_sampling_probs t_max_predict_ms min_keep tfs_z top_a adaptive_target adaptive_decay',
  'use_beam_search length_penalty allowed_token_ids bad_words logits_processors best_of',
  // where an answer ends and what of it is shown; `stop` and the others of chat's stand here for dialects without them
  'stop n max_tokens max_completion_tokens stop_token_ids include_stop_str_in_output skip_special_tokens echo',
  'prompt_logprobs return_tokens return_token_ids return_tokens_as_token_ids parse_tool_calls thinking_token_budget',
  // the prompt
  'chat_template add_generation_prompt documents truncate_prompt_tokens multimodal_data prompt_embeds',
  // forms of the answer
  'regex ebnf structural_tag guided_whitespace_pattern grammar_lazy grammar_triggers',
].flatMap((line) => line.split(' '));

/** Values that ask for what happens anyway. */
const usual: Readonly<Record<string, Json>> = {
  skip_special_tokens: true,
  parse_tool_calls: true,
  add_generation_prompt: true,
  length_penalty: 1,
  tfs_z: 1,
  best_of: 1,
  n: 1,
};

/** Fields beside the vocabulary that it follows or refuses by name; of any other the client is told that it means nothing here. */
export const knownFields: readonly string[] = [...followedFields, ...answerForms, ...notFollowed];

/** What this engine can't do of all that an API knows; silence would be taken for consent. Throws unsupported. */
export function refuseOthers({ messages, tools, toolChoice, extensions, ...request }: ChatRequest): void {
  const unsaid = request.onlyAsSent;
  if (unsaid) refuse(unsaid.param, `reads and writes text only; it does not support ${unsaid.what}`);
  const work = serverWorkOf({ dialect: request.dialect, extensions });
  if (work !== undefined) refuse(work, `does not support '${work}'`);
  for (const [i, message] of messages.entries()) {
    for (const [j, part] of message.content.entries()) {
      if (part.type === 'text') continue;
      refuse(`messages[${i}].content[${j}]`, `reads text only; it can't read a part of type '${part.type}'`);
    }
  }
  for (const name of notFollowed) {
    const value = extensions[name];
    if (value === undefined || asksNothing(name, value)) continue;
    if (request.prompt?.files && sentByEditors.has(name)) continue;
    if (name === 'add_generation_prompt' && request.continueFinalMessage) continue; // goes without saying
    refuse(name, `does not support '${name}'`);
  }
  if (toolChoice === 'none') return;
  for (const [i, { kind, format }] of tools.entries()) {
    if (kind !== 'custom' || format === undefined || format['type'] === 'text' || regexOf(format) !== undefined)
      continue;
    refuse(`tools[${i}].custom.format`, 'supports no grammar but a regex for a custom tool');
  }
}

/** The expression that a custom tool's input must match as a whole. */
export function regexOf(format: Json | undefined): string | undefined {
  const grammar = isJsonObject(format) && format['type'] === 'grammar' ? format['grammar'] : undefined;
  const { syntax, definition } = isJsonObject(grammar) ? grammar : {};
  return syntax === 'regex' && typeof definition === 'string' ? definition : undefined;
}

/** What editors that fill a gap always send: hints that a fast answer is enough. */
const sentByEditors: ReadonlySet<string> = new Set(['samplers', 't_max_predict_ms']);

function asksNothing(name: string, value: Json): boolean {
  if (name === 'samplers') return isUsualChain(value);
  if (Object.hasOwn(usual, name)) return value === usual[name];
  if (Array.isArray(value)) return value.length === 0;
  return value === false || value === '' || value === 0 || value === -1;
}

/** llama.cpp's own chain, whose samplers do nothing unless they are asked for; by letters or by names. */
function isUsualChain(value: Json): boolean {
  const letters = Array.isArray(value) ? value.map((name) => samplerLetters[String(name)] ?? '?').join('') : value;
  return typeof letters === 'string' && /^(e?d?s?ky?pmx?t)?$/.test(letters);
}

const samplerLetters: Readonly<Record<string, string>> = {
  penalties: 'e',
  dry: 'd',
  top_n_sigma: 's',
  top_k: 'k',
  typ_p: 'y',
  typical_p: 'y',
  top_p: 'p',
  min_p: 'm',
  xtc: 'x',
  temperature: 't',
};

function refuse(param: string, what: string): never {
  throw new GatewayError('unsupported', `This model ${what}.`, { param });
}
