import type { Automaton } from './automaton.ts';
import { invisible, several } from './classes.ts';
import { foldText } from './fold.ts';
import { Matcher, type MatchSink } from './matcher.ts';
import { addRegion, type Place, type Region } from './regions.ts';
import { changes, ends, type Rule, type RuleSet } from './rules.ts';
import { decodeEscapes, JsonReader, TextReader, type UnitReader, type UnitSink } from './units.ts';

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
export const createScanner = (rules: RuleSet, options: ScanOptions = {}): Scanner => new TextScanner(rules, options);

const nobody = (): void => {};

/** A class for its getters and its callbacks: as literals they would make each text of each request a slow object. */
class TextScanner implements Scanner, MatchSink, UnitSink {
  ended: Ending | undefined;
  read = 0;
  decided = 0;
  changed = false;
  readonly #rules: RuleSet['rules'];
  readonly #automaton: Automaton;
  readonly #json: boolean;
  readonly #onMatch: (rule: Rule) => void;
  readonly #replace: (rule: Rule, text: string) => string;
  readonly #matcher: Matcher;
  readonly #reader: UnitReader;
  /** Source text from `base` on. */
  #buffer = '';
  #base = 0;
  /** Source text that is not decided. */
  #held = '';
  #invisibles = 0;
  readonly #regions: Region[] = [];
  #removals: { from: number; to: number }[] = [];
  /** The leftmost match that ends the text. */
  #ending: { readonly start: number; readonly rule: Rule; readonly text: string } | undefined;
  #endLimit = 0;
  /** End of a replaced part of a number: following digits go too. */
  #bareEnd = -1;
  // One match may be found in two ways.
  #lastPattern = -1;
  #lastStart = -1;
  #lastEnd = -1;

  constructor({ automaton, rules }: RuleSet, { json = false, onMatch = nobody, replace = replaced }: ScanOptions) {
    this.#rules = rules;
    this.#automaton = automaton;
    this.#json = json;
    this.#onMatch = onMatch;
    this.#replace = replace;
    this.#matcher = new Matcher(automaton, this);
    this.#reader = json ? new JsonReader(this) : new TextReader(this);
  }

  push(text: string): string {
    if (this.ended || text === '') return '';
    this.#buffer += text;
    this.#held = this.#held === '' ? text : this.#held + text;
    this.#automaton.expressions?.read(text.length);
    let alive = true;
    for (let at = 0; at < text.length && alive; ) {
      const plain = this.#reader.plainUntil(text, at);
      const next = plain === at ? at : this.#matcher.run(text, at, plain, this.read);
      if (next > at) {
        this.#invisibles = 0;
        this.read += next - at;
        at = next;
      } else {
        alive = this.#reader.take(text.charCodeAt(at), this.read);
        at++;
        this.read++;
      }
    }
    return this.#emit(alive ? this.#pendingStart() : this.#endLimit);
  }

  end(): string {
    if (this.ended) return '';
    const alive = this.#reader.settle(this.read) && this.endText();
    return this.#emit(alive ? this.read : this.#endLimit);
  }

  release(): string {
    if (this.ended) return '';
    if (!this.#matcher.matchAtEnd()) {
      this.#goesOn(); // what only waits for a boundary to be a match counts as one here
      return this.#emit(this.#endLimit);
    }
    return this.#emit(Math.max(this.read, this.#regions.at(-1)?.end ?? 0));
  }

  removed(from: number, to: number): boolean {
    return this.#removals.some((removal) => removal.from < to && from < removal.to);
  }

  /** The matcher's: a match ends here. */
  found(pattern: number, start: number, end: number): boolean {
    const rule = this.#rules[pattern];
    if (!rule || (pattern === this.#lastPattern && start === this.#lastStart && end === this.#lastEnd)) return false;
    this.#lastPattern = pattern;
    this.#lastStart = start;
    this.#lastEnd = end;
    if (rule.check) {
      const before = this.#source(Math.max(this.#base, start - context), start);
      if (!rule.check(this.#matched(start, end), before)) return false;
    }
    this.#onMatch(rule);
    if (ends(rule)) {
      if (!this.#ending || start < this.#ending.start) this.#ending = { start, rule, text: this.#matched(start, end) };
      return true;
    }
    const from = Math.max(start, this.decided);
    if (changes(rule) && from < end) {
      const match = { matchStart: start, matchEnd: end, order: pattern };
      addRegion(this.#regions, { start: from, end, rule, ...match, place: this.#place() });
    }
    return false;
  }

  /** The reader's: a code point. */
  feed(codePoint: number, start: number, end: number): boolean {
    const { classes } = this.#automaton;
    const found = classes.of(codePoint);
    if (found >= 0) {
      this.#invisibles = 0;
      return this.#matcher.take(found, start, end) || this.#goesOn();
    }
    if (found === invisible) {
      if (++this.#invisibles > maxInvisible) this.#drop(start, end);
      return true;
    }
    this.#invisibles = 0;
    for (const symbol of classes.sequences[several - found] ?? []) {
      if (!this.#matcher.take(symbol, start, end)) return this.#goesOn();
    }
    return true;
  }

  /** The end of a text: of all, or of one JSON string. False when a match that waited for it ends the answer. */
  endText(): boolean {
    if (!this.#matcher.matchAtEnd()) return this.#goesOn();
    this.#matcher.reset();
    this.#invisibles = 0;
    return true;
  }

  bareDigit(offset: number): void {
    if (offset !== this.#bareEnd) return;
    this.#bareEnd = offset + 1;
    this.#drop(offset, offset + 1);
  }

  #source(start: number, end: number): string {
    return this.#buffer.slice(start - this.#base, end - this.#base);
  }

  #matched(start: number, end: number): string {
    const raw = this.#source(start, end);
    return foldText(this.#reader.inString ? decodeEscapes(raw) : raw);
  }

  #place(): Place {
    if (!this.#json) return 'text';
    return this.#reader.inString ? 'string' : 'bare';
  }

  #drop(start: number, end: number): void {
    const nothing = { rule: undefined, matchStart: start, matchEnd: start, order: 0 };
    addRegion(this.#regions, { start, end, ...nothing, place: this.#place() });
  }

  /** False when a match has ended the text; what is live then is not sent. */
  #goesOn(): boolean {
    const ending = this.#ending;
    if (!ending) return true;
    this.ended = { rule: ending.rule, text: ending.text };
    this.#endLimit = Math.min(ending.start, this.#holdStart());
    return false;
  }

  #holdStart(): number {
    return this.#matcher.holdStart(Math.max(this.#matcher.lastEnd, this.read));
  }

  #pendingStart(): number {
    return Math.min(this.#holdStart(), this.#reader.pendingStart(this.read));
  }

  #replacementOf({ rule, start, end, place }: Region): string {
    const raw = this.#source(start, end);
    const text = rule ? this.#replace(rule, place === 'string' ? decodeEscapes(raw) : raw) : '';
    if (place === 'string') return JSON.stringify(text).slice(1, -1);
    if (place !== 'bare' || !rule) return text;
    if (/[^0-9.+\-eE]/.test(raw)) return 'null';
    this.#bareEnd = end;
    return '0';
  }

  /** Gives out everything before `limit`, regions that are closed replaced, and stops before an open one. */
  #emit(limit: number): string {
    let out = '';
    if (this.#regions.length > 0) {
      out = this.#emitRegions(limit);
      this.#held = this.#buffer.slice(this.decided - this.#base);
    } else if (limit > this.decided) {
      const length = limit - this.decided;
      const held = this.#held;
      out = held.length === length ? held : held.slice(0, length);
      this.#held = held.length === length ? '' : held.slice(length);
      this.decided = limit;
    }
    if (this.decided - this.#base > 128) this.#trim();
    return out;
  }

  #emitRegions(limit: number): string {
    const regions = this.#regions;
    let out = '';
    let closed = 0; // removed from the list together: one by one would take their square
    for (const region of regions) {
      if (region.end > limit) break;
      out += this.#source(this.decided, Math.max(region.start, this.decided)) + this.#replacementOf(region);
      this.#removals.push({ from: region.start, to: region.end });
      this.decided = region.end;
      this.changed = true;
      closed++;
    }
    regions.splice(0, closed);
    if (this.#removals.length > 512) this.#removals = this.#removals.slice(-256);
    const cut = regions[0] ? Math.min(limit, regions[0].start) : limit;
    if (cut > this.decided) {
      out += this.#source(this.decided, cut);
      this.decided = cut;
    }
    return out;
  }

  /** Forgets what is sent and nothing can look back at; seldom, since appending is cheaper than cutting. */
  #trim(): void {
    const keep = Math.max(this.#base, Math.min(this.decided, this.#matcher.liveStart(this.read)) - context);
    this.#buffer = this.#buffer.slice(keep - this.#base);
    this.#base = keep;
  }
}
