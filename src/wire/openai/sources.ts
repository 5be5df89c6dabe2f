import { isJsonObject, type JsonObject, stringOf } from '../../core/json.ts';

/** What a search gave, where a server tells it of the whole answer (Perplexity, xAI), as citations of no place in its text. */
export function sourcesOf({ search_results: results, citations }: JsonObject): JsonObject[] | undefined {
  const list = Array.isArray(results) && results.length > 0 ? results : citations;
  if (!Array.isArray(list) || list.length === 0) return undefined;
  return list.flatMap((source) => {
    const { url, title } = isJsonObject(source) ? source : { url: source, title: '' };
    if (typeof url !== 'string') return [];
    const cited = { url, title: stringOf(title) ?? '', start_index: 0, end_index: 0 };
    return [{ type: 'url_citation', url_citation: cited }];
  });
}
