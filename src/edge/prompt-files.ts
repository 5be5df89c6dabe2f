import summarize1 from '../../prompts/chat/summarize@1.md';
import summarize2 from '../../prompts/chat/summarize@2.md';
import translate1 from '../../prompts/chat/translate@1.md';
import safety1 from '../../prompts/guard/safety@1.md';
import topics1 from '../../prompts/guard/topics@1.md';
import safetyPartial from '../../prompts/partials/safety.md';
import assistant1 from '../../prompts/system/assistant@1.md';
import concise1 from '../../prompts/system/concise@1.md';

/** The prompts that come with Tidegate, as text modules: there are no files at the edge. A test keeps the list whole. */
export const packagedPrompts: Readonly<Record<string, string>> = {
  'chat/summarize@1.md': summarize1,
  'chat/summarize@2.md': summarize2,
  'chat/translate@1.md': translate1,
  'guard/safety@1.md': safety1,
  'guard/topics@1.md': topics1,
  'partials/safety.md': safetyPartial,
  'system/assistant@1.md': assistant1,
  'system/concise@1.md': concise1,
};
