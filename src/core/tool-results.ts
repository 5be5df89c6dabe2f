import type { Message, Part } from './request.ts';

const isText = ({ type }: Part): boolean => type === 'text';
const pointer: Part = { type: 'text', text: 'The next message holds what this tool gave.' };

/** The messages for an upstream whose tool results are text alone: what else the tools of a turn gave follows as the user's. */
export function withTextResults(messages: readonly Message[]): readonly Message[] {
  if (messages.every(({ role, content }) => role !== 'tool' || content.every(isText))) return messages;
  const told: Message[] = [];
  let given: Part[] = [];
  for (const [index, message] of messages.entries()) {
    if (message.role !== 'tool') {
      told.push(message);
      continue;
    }
    const others = message.content.filter((part) => !isText(part));
    const texts = message.content.filter(isText);
    told.push({ ...message, content: texts.length > 0 || others.length === 0 ? texts : [pointer] });
    given.push(...others);
    if (given.length === 0 || messages[index + 1]?.role === 'tool') continue;
    told.push({ role: 'user', content: given });
    given = [];
  }
  return told;
}
