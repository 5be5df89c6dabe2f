import type { ObjectPage } from '../core/objects.ts';
import { invalidValue } from '../wire/validate.ts';
import type { AppContext } from './env.ts';

/** `after`, `limit` and `order` of a listing. */
export function pageOf(
  c: AppContext,
  { order = 'desc', limit = 20, max = 100 }: { order?: ObjectPage['order']; limit?: number; max?: number } = {},
): ObjectPage {
  const after = c.req.query('after');
  const asked = c.req.query('limit');
  const wanted = asked === undefined || asked === '' ? limit : Number(asked);
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > max) {
    throw invalidValue('limit', `Invalid 'limit': expected an integer between 1 and ${max}.`);
  }
  const direction = c.req.query('order') ?? order;
  if (direction !== 'asc' && direction !== 'desc') {
    throw invalidValue('order', "Invalid 'order': expected 'asc' or 'desc'.");
  }
  return { limit: wanted, order: direction, ...(after ? { after } : {}) };
}

/** OpenAI's list object. */
export function encodeList<T extends object>(data: readonly T[], hasMore: boolean) {
  const idOf = (one: T | undefined) => (one && 'id' in one && typeof one.id === 'string' ? one.id : null);
  return { object: 'list', data, first_id: idOf(data[0]), last_id: idOf(data.at(-1)), has_more: hasMore };
}

/** One page of items that are at hand as a whole, oldest first. */
export function pageItems<T extends { readonly id?: unknown }>(
  items: readonly T[],
  { after, limit, order }: ObjectPage,
) {
  const sorted = order === 'desc' ? items.toReversed() : items;
  const start = after === undefined ? 0 : sorted.findIndex((item) => item.id === after) + 1;
  return encodeList(sorted.slice(start, start + limit), sorted.length > start + limit);
}
