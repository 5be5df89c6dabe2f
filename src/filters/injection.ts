import { foldText } from './fold.ts';

/** Signs of text that gives orders to the model in the name of somebody else, with what each adds to the score. */
const signs: readonly { readonly name: string; readonly weight: number; readonly regex: RegExp }[] = [
  {
    name: 'override',
    weight: 0.6,
    regex:
      /\b(?:ignore|disregard|forget|override|bypass)\b.{0,30}\b(?:all|any|previous|prior|above|earlier|your|the|system)\b.{0,30}\b(?:instructions?|prompts?|rules?|guidelines?|directions?|context|constraints?)\b/i,
  },
  {
    name: 'override',
    weight: 0.6,
    regex:
      /\b(?:ignoriere|vergiss|missachte)\b.{0,40}\b(?:anweisungen|regeln|vorgaben|prompt)\b|\b(?:ignore[zr]?|oublie[zr]?)\b.{0,40}\b(?:instructions|consignes|r\u0300?egles)\b|\b(?:ignora|olvida)\b.{0,40}\b(?:instrucciones|reglas|istruzioni|regole)\b/i,
  },
  {
    name: 'persona',
    weight: 0.4,
    regex:
      /\b(?:you are now|from now on,? you(?: are|'re| will)|pretend (?:to be|you are|that you)|act as (?:if|though) you (?:have no|are not))\b/i,
  },
  {
    name: 'jailbreak',
    weight: 0.6,
    regex:
      /\b(?:DAN mode|do anything now|developer mode|jailbr(?:eak|oken)|no (?:restrictions|filters|limits) mode|god mode)\b/i,
  },
  {
    name: 'prompt leak',
    weight: 0.5,
    regex:
      /\b(?:reveal|show|print|repeat|output|tell me|display|leak)\b.{0,40}\b(?:system prompt|initial (?:prompt|instructions)|hidden (?:prompt|instructions)|(?:your|the) (?:instructions|prompt) (?:above|verbatim|word for word))\b/i,
  },
  {
    name: 'role marks',
    weight: 0.5,
    regex: /<\|(?:im_start|im_end|system|user|assistant|eot_id|start_header_id|endoftext)\|>|\[\/?INST\]|<<\/?SYS>>/i,
  },
  { name: 'role marks', weight: 0.3, regex: /^\s{0,4}(?:#{1,4}\s*)?(?:system|assistant)\s*(?:prompt|message)?\s*:/im },
  {
    name: 'new instructions',
    weight: 0.4,
    regex: /\b(?:new|updated|real|actual|important) (?:system )?instructions?\s*(?::|from|begin|follow)/i,
  },
  { name: 'exfiltration', weight: 0.4, regex: /!\[[^\]]{0,40}\]\(https?:\/\/[^)\s]{1,200}[?&][^)\s]{0,40}=/i },
  {
    name: 'secrecy',
    weight: 0.3,
    regex:
      /\b(?:do not|don't|never) (?:tell|mention|reveal|inform|show)(?: this| it)?(?: to)? (?:the )?(?:user|anyone|anybody|human)\b/i,
  },
  {
    name: 'concealed action',
    weight: 0.3,
    regex:
      /\b(?:without (?:asking|telling|informing)|silently|secretly)\b.{0,40}\b(?:send|call|execute|run|delete|email|forward|post)\b/i,
  },
];
/** Tag characters spell ASCII that no reader sees. */
const tags = /[\u{E0020}-\u{E007E}]{4,}/u;

/** 0..1 and the signs found. Reads the first 100,000 characters; every expression has a bounded reach. */
export function injectionScore(text: string): { readonly score: number; readonly signs: readonly string[] } {
  const head = text.slice(0, 100_000);
  const folded = foldText(head);
  const found = signs.filter(({ regex }) => regex.test(folded)).map(({ name, weight }) => ({ name, weight }));
  if (tags.test(head)) found.push({ name: 'hidden text', weight: 0.8 });
  // Independent signs: the chance that none of them means it.
  const score = 1 - found.reduce((none, { weight }) => none * (1 - weight), 1);
  return { score: Math.round(score * 100) / 100, signs: [...new Set(found.map(({ name }) => name))] };
}
