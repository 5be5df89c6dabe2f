import { moderationCategories } from '../core/provider.ts';
import type { AskModel } from './judge.ts';
import { scoresOf } from './judge.ts';
import type { FilterParts, Label } from './readers.ts';

/** Scores one text in OpenAI's moderation categories. */
export type ScoreText = (text: string, signal: AbortSignal) => Promise<Readonly<Record<string, number>>>;

/** By one of the gateway's own models and a prompt of the library. */
export const scoreByJudge =
  (ask: AskModel, model: string, prompt: string): ScoreText =>
  async (text, signal) => {
    const variables = { text, categories: moderationCategories };
    const answer = await ask({ model, prompt, variables, scores: moderationCategories, signal });
    return scoresOf(answer, moderationCategories);
  };

/** By a text-classification model; its labels are read as the category they mean. */
export const scoreByClassifier =
  (classify: NonNullable<FilterParts['classify']>, model: string): ScoreText =>
  async (text, signal) => {
    const scores: Record<string, number> = {};
    for (const { label, score } of await classify(model, text, signal)) {
      const category = categoryOf(label);
      if (category) scores[category] = Math.max(scores[category] ?? 0, score);
    }
    return scores;
  };

/** What public moderation models call the categories. */
const names: Readonly<Record<string, string>> = {
  h: 'hate',
  h2: 'hate/threatening',
  hr: 'harassment',
  s: 'sexual',
  s3: 'sexual/minors',
  sh: 'self-harm',
  v: 'violence',
  v2: 'violence/graphic',
  identity_attack: 'hate',
  identity_hate: 'hate',
  hate_speech: 'hate',
  insult: 'harassment',
  obscene: 'sexual',
  severe_toxic: 'harassment',
  severe_toxicity: 'harassment',
  sexual_explicit: 'sexual',
  threat: 'harassment/threatening',
  toxic: 'harassment',
  toxicity: 'harassment',
};

function categoryOf(label: Label['label']): string | undefined {
  const name = label.toLowerCase().replaceAll(' ', '_');
  return (
    names[name] ?? moderationCategories.find((category) => category === name.replaceAll('_', '-') || category === name)
  );
}
