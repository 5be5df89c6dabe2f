import { invisible, several } from './classes.ts';
import { foldText } from './fold.ts';
import { createMatcher } from './matcher.ts';
import { addRegion, type Place, type Region } from './regions.ts';
import { changes, ends, type Rule, type RuleSet } from './rules.ts';
import { createJsonReader, createTextReader, decodeEscapes } from './units.ts';

/** Reads one text as it arrives and gives out what is safe. Offsets count UTF-16 units of the source. */
export interface Scanner {
  /** What may be sent now: everything before the first live prefix of a match, regions replaced. */
  push(text: string): string;
  /** The rest: the text is over. */
  end(): string;
  /** Gives the held text out without an end, where order matters more; a match under way still cannot complete. */
  release(): string;
  /** The rule that ended the text, if one did; what follows is ignored. */
  readonly ended: Ending | undefined;
  /** Everything before this offset has been given out or removed. */
  readonly decided: number;
  /** Units read so far. */
  readonly read: number;
  /** True when some of [from, to) was removed or replaced. */
  removed(from: number, to: number): boolean;
  /** True when any text was removed or replaced. */
  readonly changed: boolean;
}

export interface Ending {
  readonly rule: Rule;
  /** The text that matched. */
  readonly text: string;
}

export interface ScanOptions {
  readonly json?: boolean;
  readonly onMatch?: ((rule: Rule) => void) | undefined;
  /** What stands in the place of a rule's text, where that depends on the request. */
  readonly replace?: ((rule: Rule, text: string) => string) | undefined;
}

const replaced = (rule: Rule, text: string): string => rule.replacement?.(text) ?? '';

/** More invisible characters than this in a row carry no text: they are dropped, so that what is held stays bounded. */
const maxInvisible = 64;
/** Units kept in front of what is undecided, for checks that look back. */
const context = 32;

/**
 * `json`: the text is JSON (tool-call arguments); escapes are decoded before they are compared, each string is a text of
 * its own, and replacements keep the JSON valid.
 */
export function createScanner(
  { automaton, rules }: RuleSet,
  { json = false, onMatch = () => {}, replace = replaced }: ScanOptions = {},
): Scanner {
  const { classes, expressions } = automaton;
  let buffer = ''; // source text from `base` on
  let held = ''; // source text from `sent` on
  let base = 0;
  let sent = 0;
  let read = 0; // units whose code points have been fed
  let invisibles = 0;
  const regions: Region[] = [];
  let removals: { from: number; to: number }[] = [];
  let changed = false;
  let ending: { readonly start: number; readonly rule: Rule; readonly text: string } | undefined; // the leftmost
  let ended: Ending | undefined;
  let endLimit = 0;
  let bareEnd = -1; // end of a replaced part of a number: following digits go too

  const source = (start: number, end: number): string => buffer.slice(start - base, end - base);
  const place = (): Place => (!json ? 'text' : reader.inString ? 'string' : 'bare');
  const matched = (start: number, end: number): string => {
    const raw = source(start, end);
    return foldText(json && reader.inString ? decodeEscapes(raw) : raw);
  };
  const drop = (start: number, end: number): void =>
    addRegion(regions, { start, end, rule: undefined, matchStart: start, matchEnd: start, order: 0, place: place() });

  let [lastPattern, lastStart, lastEnd] = [-1, -1, -1]; // one match may be found in two ways
  const matcher = createMatcher(automaton, (pattern, start, end) => {
    const rule = rules[pattern];
    if (!rule || (pattern === lastPattern && start === lastStart && end === lastEnd)) return false;
    [lastPattern, lastStart, lastEnd] = [pattern, start, end];
    if (rule.check && !rule.check(matched(start, end), source(Math.max(base, start - context), start))) return false;
    onMatch(rule);
    if (ends(rule)) {
      if (!ending || start < ending.start) ending = { start, rule, text: matched(start, end) };
      return true;
    }
    const from = Math.max(start, sent);
    if (changes(rule) && from < end) {
      addRegion(regions, { start: from, end, rule, matchStart: start, matchEnd: end, order: pattern, place: place() });
    }
    return false;
  });

  /** False when a match has ended the text; what is live then is not sent. */
  const goesOn = (): boolean => {
    if (!ending) return true;
    ended = { rule: ending.rule, text: ending.text };
    endLimit = Math.min(ending.start, holdStart());
    return false;
  };
  const feed = (codePoint: number, start: number, end: number): boolean => {
    const found = classes.of(codePoint);
    if (found >= 0) {
      invisibles = 0;
      return matcher.take(found, start, end) || goesOn();
    }
    if (found === invisible) {
      if (++invisibles > maxInvisible) drop(start, end);
      return true;
    }
    invisibles = 0;
    for (const symbol of classes.sequences[several - found] ?? []) {
      if (!matcher.take(symbol, start, end)) return goesOn();
    }
    return true;
  };
  /** The end of a text: of all, or of one JSON string. False when a match that waited for it ends the answer. */
  const endText = (): boolean => {
    if (!matcher.matchAtEnd()) return goesOn();
    matcher.reset();
    invisibles = 0;
    return true;
  };
  const bareDigit = (offset: number): void => {
    if (offset !== bareEnd) return;
    bareEnd = offset + 1;
    drop(offset, offset + 1);
  };
  const reader = json ? createJsonReader({ feed, endText, bareDigit }) : createTextReader(feed);

  const holdStart = (): number => matcher.holdStart(Math.max(matcher.lastEnd, read));
  const pendingStart = (): number => Math.min(holdStart(), reader.pendingStart(read));

  const replacementOf = ({ rule, start, end, place: where }: Region): string => {
    const raw = source(start, end);
    const text = rule ? replace(rule, where === 'string' ? decodeEscapes(raw) : raw) : '';
    if (where === 'string') return JSON.stringify(text).slice(1, -1);
    if (where !== 'bare' || !rule) return text;
    if (/[^0-9.+\-eE]/.test(raw)) return 'null';
    bareEnd = end;
    return '0';
  };
  /** Gives out everything before `limit`, regions that are closed replaced, and stops before an open one. */
  const emit = (limit: number): string => {
    let out = '';
    if (regions.length === 0) {
      if (limit > sent) {
        out = held.length === limit - sent ? held : held.slice(0, limit - sent);
        held = held.slice(limit - sent);
        sent = limit;
      }
    } else {
      out = emitRegions(limit);
      held = buffer.slice(sent - base);
    }
    if (sent - base > 128) trim();
    return out;
  };
  const emitRegions = (limit: number): string => {
    let out = '';
    let closed = 0; // removed from the list together: one by one would take their square
    for (const region of regions) {
      if (region.end > limit) break;
      out += source(sent, Math.max(region.start, sent)) + replacementOf(region);
      removals.push({ from: region.start, to: region.end });
      sent = region.end;
      changed = true;
      closed++;
    }
    regions.splice(0, closed);
    if (removals.length > 512) removals = removals.slice(-256);
    const cut = regions[0] ? Math.min(limit, regions[0].start) : limit;
    if (cut > sent) {
      out += source(sent, cut);
      sent = cut;
    }
    return out;
  };
  /** Forgets what is sent and nothing can look back at; seldom, since appending is cheaper than cutting. */
  const trim = (): void => {
    const keep = Math.max(base, Math.min(sent, matcher.liveStart(read)) - context);
    buffer = buffer.slice(keep - base);
    base = keep;
  };

  return {
    push(text) {
      if (ended || text === '') return '';
      buffer += text;
      held = held === '' ? text : held + text;
      expressions?.read(text.length);
      let alive = true;
      for (let i = 0; i < text.length && alive; i++) {
        alive = reader.take(text.charCodeAt(i), read);
        read++;
      }
      return emit(alive ? pendingStart() : endLimit);
    },
    end() {
      if (ended) return '';
      const alive = reader.settle(read) && endText();
      return emit(alive ? read : endLimit);
    },
    release() {
      if (ended) return '';
      if (!matcher.matchAtEnd()) {
        goesOn(); // what only waits for a boundary to be a match counts as one here
        return emit(endLimit);
      }
      return emit(Math.max(read, regions.at(-1)?.end ?? 0));
    },
    get ended() {
      return ended;
    },
    get decided() {
      return sent;
    },
    get read() {
      return read;
    },
    get changed() {
      return changed;
    },
    removed(from, to) {
      return removals.some((removal) => removal.from < to && from < removal.to);
    },
  };
}
