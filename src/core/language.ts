const scripts: readonly (readonly [RegExp, string])[] = [
  [/[\u3040-\u30ff]/g, 'ja'],
  [/[\uac00-\ud7af]/g, 'ko'],
  [/[\u4e00-\u9fff]/g, 'zh'],
  [/[\u0400-\u04ff]/g, 'ru'],
  [/[\u0600-\u06ff]/g, 'ar'],
  [/[\u0590-\u05ff]/g, 'he'],
  [/[\u0900-\u097f]/g, 'hi'],
  [/[\u0370-\u03ff]/g, 'el'],
  [/[\u0e00-\u0e7f]/g, 'th'],
];

const words: Readonly<Record<string, ReadonlySet<string>>> = {
  en: new Set('the and is of to in that it for you what how with this are do can my'.split(' ')),
  de: new Set('der die das und ist nicht ich ein eine zu den mit wie was für auf sie wir kann'.split(' ')),
  fr: new Set('le la les et est une des je que pour dans pas vous comment sur avec qui du'.split(' ')),
  es: new Set('el los las y es una que de por para con cómo no en qué se lo mi puede'.split(' ')),
  it: new Set('il gli e è una che di per con come non sono del della cosa mi nel'.split(' ')),
  pt: new Set('o os as e é uma que de para com como não em você do da meu eu'.split(' ')),
  nl: new Set('de het een en is niet ik van dat op te met hoe wat voor zijn kan'.split(' ')),
};

const beyondLatin = /[\u0370-\uffff]/; // most texts need not be searched for each script

/** All that `detectLanguage` tells apart. */
export const languages: readonly string[] = [...Object.keys(words), ...scripts.map(([, language]) => language), 'und'];

/** ISO 639-1 of a text's most likely language by script and frequent words; `und` where unsure. Reads 2,000 characters. */
export function detectLanguage(text: string): string {
  const head = text.slice(0, 2000);
  const letters = head.match(/\p{L}/gu)?.length ?? 0;
  if (letters === 0) return 'und';
  // Kana decides for Japanese, which is otherwise mostly Han.
  for (const [script, language] of beyondLatin.test(head) ? scripts : []) {
    if ((head.match(script)?.length ?? 0) / letters > (language === 'ja' ? 0.1 : 0.3)) return language;
  }
  const tokens = head.toLowerCase().match(/\p{L}+/gu) ?? [];
  const hits = Object.entries(words)
    .map(([language, set]) => ({ language, count: tokens.filter((token) => set.has(token)).length }))
    .sort((a, b) => b.count - a.count);
  const [best, second] = hits;
  return best && best.count > (second?.count ?? 0) ? best.language : 'und';
}
