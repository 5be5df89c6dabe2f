import type { Message, Part } from './request.ts';

const isText = ({ type }: Part): boolean => type === 'text';
const pointer: Part = { type: 'text', text: 'The next message holds what this tool gave.' };

/** What a tool gave that failed, with words for those who have no mark for it. */
function asFailed([first, ...others]: readonly Part[]): readonly Part[] {
  if (first?.type !== 'text' || first.text === '') return [{ type: 'text', text: 'The tool failed.' }, ...others];
  return [{ ...first, text: `The tool failed: ${first.text}` }, ...others];
}

/**
 * The messages for an upstream whose tool results are text alone: that a tool failed stands before its words, and what
 * else the tools of a turn gave follows as the user's.
 */
export function withTextResults(messages: readonly Message[]): readonly Message[] {
  if (messages.every((message) => message.role !== 'tool' || (!message.isError && message.content.every(isText)))) {
    return messages;
  }
  const told: Message[] = [];
  let given: Part[] = [];
  for (const [index, message] of messages.entries()) {
    if (message.role !== 'tool') {
      told.push(message);
      continue;
    }
    const others = message.content.filter((part) => !isText(part));
    const texts = message.content.filter(isText);
    const said = texts.length > 0 || others.length === 0 ? texts : [pointer];
    told.push({ ...message, content: message.isError ? asFailed(said) : said });
    given.push(...others);
    if (given.length === 0 || messages[index + 1]?.role === 'tool') continue;
    told.push({ role: 'user', content: given });
    given = [];
  }
  return told;
}
