import { expect, test } from 'vitest';
import { place, type SlotView } from '../../src/engine/prefix.ts';

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i);
const slot = (index: number, tokens: number[], rest: Partial<SlotView> = {}): SlotView => ({
  index,
  tokens,
  tenant: 'a',
  cacheKey: undefined,
  adapters: '',
  busy: false,
  lastUsedMs: index,
  ...rest,
});
const query = (tokens: number[], rest = {}) => ({
  tokens,
  tenant: 'a',
  cacheKey: undefined,
  adapters: '',
  reuse: true,
  ...rest,
});

test.each([
  {
    name: 'takes the slot with the longest common prefix',
    slots: [slot(0, range(5)), slot(1, range(9))],
    tokens: range(20),
    out: [1, 9, 'slot'],
  },
  {
    name: 'evaluates the last prompt token again',
    slots: [slot(0, range(30))],
    tokens: range(20),
    out: [0, 19, 'slot'],
  },
  {
    name: 'never shares with another tenant',
    slots: [slot(0, range(9), { tenant: 'b' })],
    tokens: range(20),
    out: [0, 0, 'none'],
  },
  {
    name: 'never shares under other adapters',
    slots: [slot(0, range(9), { adapters: 'x=1' })],
    tokens: range(20),
    out: [0, 0, 'none'],
  },
  {
    name: 'copies from a busy slot',
    slots: [slot(0, range(50), { busy: true }), slot(1, [])],
    tokens: range(60),
    out: [1, 50, 'copy'],
  },
  {
    name: 'does not copy what is read as fast',
    slots: [slot(0, [...range(10), ...range(500, 900)], { busy: true }), slot(1, [])],
    tokens: range(60),
    out: [1, 0, 'none'],
  },
  {
    name: 'copies the short beginning that all chats share from a short one',
    slots: [slot(0, [...range(10), ...range(100, 900)]), slot(1, [])],
    tokens: [...range(10), ...range(20, 700)],
    out: [1, 10, 'copy'],
  },
  {
    name: 'stays beside running slots, since llama.cpp splits a batch at gaps',
    slots: [slot(0, []), slot(1, []), slot(2, []), slot(3, [], { busy: true }), slot(4, range(9, 90))],
    tokens: range(20),
    out: [2, 0, 'none'],
  },
  {
    name: 'closes a gap between running slots first',
    slots: [slot(0, []), slot(1, range(9), { busy: true }), slot(2, range(9, 90)), slot(3, range(9), { busy: true })],
    tokens: range(20, 500),
    out: [2, 0, 'none'],
  },
  {
    name: 'leaves its neighbours for a long prefix',
    slots: [slot(0, range(300)), slot(1, []), slot(2, []), slot(3, [], { busy: true })],
    tokens: range(400),
    out: [0, 300, 'slot'],
  },
  {
    name: 'prefers an empty slot over one that remembers',
    slots: [slot(0, range(9, 50), { lastUsedMs: 0 }), slot(1, [], { lastUsedMs: 0 })],
    tokens: range(20),
    out: [1, 0, 'none'],
  },
  {
    name: 'takes the least recently used otherwise',
    slots: [slot(0, range(9, 50), { lastUsedMs: 7 }), slot(1, range(9, 70), { lastUsedMs: 3 })],
    tokens: range(20),
    out: [1, 0, 'none'],
  },
])('$name', ({ slots, tokens, out }) => {
  const placed = place(query(tokens), slots, []);
  expect([placed?.slot, placed?.cachedTokens, placed?.source.type]).toEqual(out);
});

test('copies a shared system prompt instead of overwriting the conversation that holds it', () => {
  const slots = [slot(0, range(90), { lastUsedMs: 9 }), slot(1, range(20, 500), { lastUsedMs: 3 })];
  const placed = place(query([...range(30), ...range(30, 900)]), slots, []);
  expect(placed).toEqual({ slot: 1, cachedTokens: 30, source: { type: 'copy', from: 0 } });
});

test('waits when every slot is busy', () => {
  expect(place(query(range(5)), [slot(0, range(5), { busy: true })], [])).toBeNull();
});

test('reloads a stored prefix that is longer than what slots hold', () => {
  const stored = [{ id: 'x', tokens: range(40), tenant: 'a', adapters: '' }];
  expect(place(query(range(60)), [slot(0, range(4))], stored)).toMatchObject({
    cachedTokens: 40,
    source: { type: 'stored', id: 'x' },
  });
});

test('the cache key decides between equal slots', () => {
  const slots = [slot(0, [], { lastUsedMs: 1 }), slot(1, [], { cacheKey: 'k', lastUsedMs: 5 })];
  expect(place(query(range(5), { cacheKey: 'k' }), slots, [])?.slot).toBe(1);
});

test('a request that wants nothing reused gets none of what is there', () => {
  const stored = [{ id: 'x', tokens: range(40), tenant: 'a', adapters: '' }];
  expect(place(query(range(60), { reuse: false }), [slot(0, range(50))], stored)).toMatchObject({ cachedTokens: 0 });
});
