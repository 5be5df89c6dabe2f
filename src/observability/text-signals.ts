/** Cheap signs of what a text is: for distributions over many answers, not for a verdict about one. */

const scripts: readonly (readonly [name: string, letters: RegExp])[] = [
  ['ja', /[\u3040-\u30ff]/g],
  ['ko', /[\uac00-\ud7af]/g],
  ['zh', /[\u4e00-\u9fff]/g],
  ['ru', /[\u0400-\u04ff]/g],
  ['ar', /[\u0600-\u06ff]/g],
  ['hi', /[\u0900-\u097f]/g],
  ['el', /[\u0370-\u03ff]/g],
  ['he', /[\u0590-\u05ff]/g],
];
/** Where all of these are. */
const beyondLatin = /[\u0370-\uffff]/;
const commonWords: Readonly<Record<string, ReadonlySet<string>>> = {
  en: new Set('the of and to in is that it for you with are this was as on be have not can'.split(' ')),
  de: new Set('der die das und ist nicht ein eine zu den mit sich auf für es im von auch wird sind'.split(' ')),
  fr: new Set('le la les des et est un une que pour dans pas vous qui sur avec ce du au sont'.split(' ')),
  es: new Set('el los las de que y en un una es para con no por se del como su más son'.split(' ')),
  it: new Set('il lo gli di che e un una per non con del sono della più anche è nel questo come'.split(' ')),
  pt: new Set('o os as de que e um uma para com não por em do da mais como são você se'.split(' ')),
  nl: new Set('de het een en van is dat niet op te met voor zijn ook aan er maar je naar'.split(' ')),
};

export const languages = [...Object.keys(commonWords), ...scripts.map(([name]) => name), 'other'];

/** The likely language of a text; `other` where it is too short or unknown. */
export function languageOf(text: string): string {
  if (beyondLatin.test(text)) {
    for (const [name, letters] of scripts) {
      const found = text.match(letters)?.length ?? 0;
      if (found > 0 && found * 4 > text.length * 0.6) return name;
    }
  }
  const words =
    text
      .toLowerCase()
      .match(/\p{L}+/gu)
      ?.slice(0, 400) ?? [];
  let [best, most] = ['other', 0];
  for (const [name, common] of Object.entries(commonWords)) {
    const hits = words.filter((word) => common.has(word)).length;
    if (hits > most) [best, most] = [name, hits];
  }
  return most >= 2 && most * 12 >= words.length ? best : 'other';
}

const refusing =
  /^\W*(i['’]?m (really )?sorry|sorry, (but )?i|i (can(no|['’])t|am (not able|unable)|won['’]t|must decline)|as an ai\b|unfortunately, i can|es tut mir leid|ich kann (leider|dabei) nicht|je (ne peux pas|suis désolé)|lo siento, (pero )?no puedo)/i;

/** Whether an answer begins the way refusals do. */
export const looksRefusing = (text: string): boolean => refusing.test(text.slice(0, 200));

export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
