import type { Usage } from './event.ts';

/** Usage of several calls as one: numbers are added up, and what one of them estimated is an estimate. Without `parts`. */
export function sumUsage(usages: readonly Usage[]): Usage {
  const total: Record<string, unknown> & Counts = { promptTokens: 0, completionTokens: 0 };
  for (const usage of usages) {
    for (const [field, value] of Object.entries(usage)) {
      if (typeof value === 'number') total[field] = (typeof total[field] === 'number' ? total[field] : 0) + value;
      else if (value === true) total[field] = true;
    }
  }
  return total;
}

type Counts = { promptTokens: number; completionTokens: number };
