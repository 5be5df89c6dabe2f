const refusing =
  /^\W*(i['’]?m (really )?sorry|sorry, (but )?i|i (can(no|['’])t|am (not able|unable)|won['’]t|must decline)|as an ai\b|unfortunately, i can|es tut mir leid|ich kann (leider|dabei) nicht|je (ne peux pas|suis désolé)|lo siento, (pero )?no puedo)/i;

/** Whether an answer begins the way refusals do: a sign for distributions over many answers, not a verdict about one. */
export const looksRefusing = (text: string): boolean => refusing.test(text.slice(0, 200));
