import { type Accept, type Edge, endOfText, invisible, type State, type SymbolClass } from './automaton.ts';
import { foldText } from './fold.ts';
import { changes, ends, type Rule, type RuleSet } from './rules.ts';

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

/** A part of the source that is not sent; `rule` undefined: dropped without a trace. */
interface Region {
  start: number;
  end: number;
  rule: Rule | undefined;
  /** The leftmost-longest match, which names the region. */
  matchStart: number;
  matchEnd: number;
  order: number;
  /** Replacements inside JSON strings are escaped; outside they must be a value. */
  place: Place;
}

/** True when `a` names a region that both are in: further left, then longer, then declared first. */
const leftmostLongest = (a: Region, b: Region): boolean =>
  b.rule === undefined || (a.matchStart - b.matchStart || b.matchEnd - a.matchEnd || a.order - b.order) < 0;

type Place = 'text' | 'string' | 'bare';

/** More invisible characters than this in a row carry no text: they are dropped, so that what is held stays bounded. */
const maxInvisible = 64;
/** Units kept in front of what is undecided, for checks that look back. */
const context = 4;
const simpleEscapes: Readonly<Record<string, number>> = { b: 8, f: 12, n: 10, r: 13, t: 9, '"': 34, '\\': 92, '/': 47 };

/**
 * `json`: the text is JSON (tool-call arguments); escapes are decoded before they are compared, each string is a text of
 * its own, and replacements keep the JSON valid.
 */
export function createScanner(
  { automaton, rules }: RuleSet,
  { json = false, onMatch = () => {}, replace }: ScanOptions = {},
): Scanner {
  const { phrases, classes, hasExpressions } = automaton;
  const ringMask = 2 ** Math.ceil(Math.log2((phrases?.maxDepth ?? 0) + 2)) - 1;
  const ring = new Int32Array(ringMask + 1); // where the last symbols start in the source; negative: no match may start there
  let node = 0; // of the phrases
  let lastIsWord = false;
  let state: State = automaton.start;
  let registers: number[] = [];
  let spare: number[] = [];
  let symbols = 0;

  let buffer = ''; // source text from `base` on
  let held = ''; // source text from `sent` on
  let base = 0;
  let sent = 0;
  let read = 0; // units whose code points have been fed
  let lastEnd = 0; // where the last symbol's code point ended
  let high = -1; // a high surrogate whose other half has not come
  let invisibles = 0;
  const regions: Region[] = [];
  let removals: { from: number; to: number }[] = [];
  let changed = false;
  let ended: Ending | undefined;
  let endLimit = 0;

  // JSON reading
  let inString = false;
  let escapeStart = -1; // offset of the backslash of an escape under way
  let hex = '';
  let escapedHigh = -1; // a high surrogate that came as an escape, from `escapedHighStart`
  let escapedHighStart = -1;
  let bareEnd = -1; // end of a replaced part of a number: following digits go too

  const place = (): Place => (!json ? 'text' : inString ? 'string' : 'bare');
  /** Where the symbol so many back starts in the source. */
  const startOf = (depth: number, none: number): number => {
    if (depth === 0) return none;
    const start = ring[(symbols - depth) & ringMask] as number; // the ring is as long as the longest phrase
    return start < 0 ? ~start : start;
  };
  const holdStart = (): number => {
    let from = lastEnd > read ? lastEnd : read;
    if (phrases && node !== 0) from = Math.min(from, startOf(phrases.holdDepth[node] ?? 0, from));
    if (state.holdRegister >= 0) from = Math.min(from, registers[state.holdRegister] ?? 0);
    return from;
  };
  const keepStart = (): number => {
    let from = read;
    if (phrases && node !== 0) from = Math.min(from, startOf(phrases.liveDepth[node] ?? 0, from));
    if (registers.length > 0) from = Math.min(from, registers[0] ?? 0);
    return from;
  };

  const addRegion = (region: Region): void => {
    for (let last = regions.at(-1); last && last.end > region.start; last = regions.at(-1)) {
      const older = last.rule !== undefined && (region.rule === undefined || !leftmostLongest(region, last));
      region = {
        ...(older ? last : region),
        start: Math.min(last.start, region.start),
        end: Math.max(last.end, region.end),
      };
      regions.pop();
    }
    regions.push(region);
  };

  /** Handles one match; `ending` is the leftmost that ends the text. */
  let ending: { start: number; rule: Rule; text: string } | undefined;
  const found = (pattern: number, start: number, end: number): void => {
    const rule = rules[pattern];
    if (!rule) return;
    if (rule.check && !rule.check(matched(start, end), sourceText(Math.max(base, start - context), start))) return;
    onMatch(rule);
    if (ends(rule)) {
      if (!ending || start < ending.start) ending = { start, rule, text: matched(start, end) };
    } else if (changes(rule)) {
      const from = Math.max(start, sent);
      if (from >= end) return;
      addRegion({ start: from, end, rule, matchStart: start, matchEnd: end, order: pattern, place: place() });
    }
  };
  const foundExpressions = (accepts: readonly Accept[], end: number, current: number): void => {
    for (const { pattern, register } of accepts)
      found(pattern, register < 0 ? current : (registers[register] ?? 0), end);
  };
  const foundPhrases = (at: number, end: number): void => {
    for (const { pattern, depth } of phrases?.matches(at) ?? []) {
      const start = ring[(symbols - depth) & ringMask] as number; // the ring is as long as the longest phrase
      if (start >= 0) found(pattern, start, end); // negative: inside one character
    }
  };
  /** False when a match has ended the text; what is live then is not sent. */
  const goesOn = (): boolean => {
    if (!ending) return true;
    ended = { rule: ending.rule, text: ending.text };
    endLimit = Math.min(ending.start, holdStart());
    return false;
  };
  const matched = (start: number, end: number): string => foldText(sourceText(start, end));
  const sourceText = (start: number, end: number): string => {
    const raw = buffer.slice(start - base, end - base);
    return json && inString ? decodeEscapes(raw) : raw;
  };

  /** Moves registers along an edge. `start`: where the current symbol's code point starts. */
  const move = (edge: Edge, start: number): void => {
    const { moves } = edge;
    if (moves.length > 0 || registers.length > 0) {
      spare.length = moves.length;
      for (let i = 0; i < moves.length; i++) {
        const from = moves[i] as number; // i is in range
        spare[i] = from < 0 ? start : (registers[from] as number); // built with the state's threads
      }
      const old = registers;
      registers = spare;
      spare = old;
    }
    state = edge.to;
  };

  const take = (symbolClass: number, start: number, end: number): boolean => {
    const symbol = classes[symbolClass] as SymbolClass; // classes come from classOf
    if (phrases && symbol.word !== lastIsWord) {
      lastIsWord = symbol.word;
      if (phrases.boundary > 0) {
        node = phrases.step(node, phrases.boundary);
        if (phrases.ends[node] === 1) foundPhrases(node, lastEnd);
      }
    }
    const edge = hasExpressions ? (state.next[symbolClass] ?? automaton.edge(state, symbolClass)) : undefined;
    if (edge?.before) foundExpressions(edge.before, lastEnd, start);
    if (ending) return goesOn();

    ring[symbols & ringMask] = symbol.noStart ? ~start : start;
    symbols++;
    if (phrases) {
      node = // the call is spared where the table knows
        node < phrases.rows
          ? (phrases.table[node * phrases.width + symbol.phraseSymbol] as number) // nodes and symbols come from there
          : phrases.step(node, symbol.phraseSymbol);
      if (phrases.ends[node] === 1 && !symbol.noEnd) foundPhrases(node, end);
    }
    if (edge) {
      if (edge.after) foundExpressions(edge.after, end, start);
      move(edge, start);
    }
    lastEnd = end;
    return ending ? goesOn() : true;
  };

  /** One code point of the text, written in the source as [start, end). False when the text has ended. */
  const feed = (codePoint: number, start: number, end: number): boolean => {
    const found = automaton.classOf(codePoint);
    if (found >= 0) {
      invisibles = 0;
      return take(found, start, end);
    }
    if (found === invisible) {
      if (++invisibles > maxInvisible) {
        addRegion({ start, end, rule: undefined, matchStart: start, matchEnd: start, order: 0, place: place() });
      }
      return true;
    }
    invisibles = 0;
    for (const symbol of automaton.sequences[-2 - found] ?? []) if (!take(symbol, start, end)) return false;
    return true;
  };

  /** The end of a text: of all, or of one JSON string. False when a match that waited for it ends the answer. */
  const finishText = (): boolean => {
    matchAtEnd();
    if (ending) return goesOn();
    state = automaton.start;
    registers = [];
    node = 0;
    lastIsWord = false;
    invisibles = 0;
    return true;
  };
  /** The matches that waited for a boundary or the end, if the text ended here. */
  const matchAtEnd = (): void => {
    if (phrases && phrases.boundary > 0 && lastIsWord) foundPhrases(phrases.step(node, phrases.boundary), lastEnd);
    if (!hasExpressions) return;
    const edge = state.next[endOfText] ?? automaton.edge(state, endOfText);
    if (edge.before) foundExpressions(edge.before, lastEnd, lastEnd);
  };

  /** Pairs surrogates and feeds; `unit` is written in the source as [start, end). */
  const feedUnit = (unit: number, start: number, end: number): boolean => {
    if (high >= 0) {
      const first = high;
      high = -1;
      if ((unit & 0xfc00) === 0xdc00) return feed(0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00), start - 1, end);
      if (!feed(first, start - 1, start)) return false;
    }
    if ((unit & 0xfc00) === 0xd800) {
      high = unit;
      return true;
    }
    return feed(unit, start, end);
  };
  const feedEscaped = (unit: number, start: number, end: number): boolean => {
    if (escapedHigh >= 0) {
      const first = escapedHigh;
      escapedHigh = -1;
      if ((unit & 0xfc00) === 0xdc00) {
        return feed(0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00), escapedHighStart, end);
      }
      if (!feed(first, escapedHighStart, start)) return false;
    }
    if ((unit & 0xfc00) === 0xd800) {
      escapedHigh = unit;
      escapedHighStart = start;
      return true;
    }
    return feed(unit, start, end);
  };
  /** A surrogate half that stays alone is a character of its own. */
  const settleSurrogates = (offset: number): boolean => {
    if (high >= 0) {
      const first = high;
      high = -1;
      if (!feed(first, offset - 1, offset)) return false;
    }
    if (escapedHigh >= 0) {
      const first = escapedHigh;
      escapedHigh = -1;
      if (!feed(first, escapedHighStart, offset)) return false;
    }
    return true;
  };

  const feedJson = (unit: number, offset: number): boolean => {
    if (!inString) {
      if (unit === 34) {
        if (!settleSurrogates(offset) || !finishText()) return false;
        inString = true;
        return true;
      }
      const separator =
        unit === 32 || (unit >= 9 && unit <= 13) || (unit < 128 && '{}[],:'.includes(String.fromCharCode(unit)));
      if (separator) return settleSurrogates(offset) && finishText();
      const digit = unit >= 48 && unit <= 57;
      if (digit && offset === bareEnd) {
        bareEnd = offset + 1;
        addRegion({
          start: offset,
          end: offset + 1,
          rule: undefined,
          matchStart: offset,
          matchEnd: offset,
          order: 0,
          place: 'bare',
        });
      }
      return feedUnit(unit, offset, offset + 1);
    }
    if (escapeStart >= 0) {
      if (hex !== '' || unit === 117) {
        if (hex === '') {
          hex = 'u';
          return true;
        }
        hex += String.fromCharCode(unit);
        if (hex.length < 5) return true;
        const code = Number.parseInt(hex.slice(1), 16);
        const from = escapeStart;
        escapeStart = -1;
        hex = '';
        return feedEscaped(Number.isNaN(code) ? 0xfffd : code, from, offset + 1);
      }
      const from = escapeStart;
      escapeStart = -1;
      return feedEscaped(simpleEscapes[String.fromCharCode(unit)] ?? unit, from, offset + 1);
    }
    if (unit === 92) {
      if (high >= 0 && !settleSurrogates(offset)) return false;
      escapeStart = offset;
      return true;
    }
    if (unit === 34) {
      if (!settleSurrogates(offset) || !finishText()) return false;
      inString = false;
      return true;
    }
    if (escapedHigh >= 0 && !settleSurrogates(offset)) return false;
    return feedUnit(unit, offset, offset + 1);
  };

  const replacementOf = ({ rule, start, end, place: where }: Region): string => {
    const raw = buffer.slice(start - base, end - base);
    const text = rule ? (replace ?? replaced)(rule, where === 'string' ? decodeEscapes(raw) : raw) : '';
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
    if (sent - base > 64) trim();
    return out;
  };
  const emitRegions = (limit: number): string => {
    let out = '';
    while (regions[0] && regions[0].end <= limit) {
      const region = regions[0];
      out += buffer.slice(sent - base, Math.max(region.start, sent) - base) + replacementOf(region);
      removals.push({ from: region.start, to: region.end });
      sent = region.end;
      changed = true;
      regions.shift();
    }
    const cut = regions[0] ? Math.min(limit, regions[0].start) : limit;
    if (cut > sent) {
      out += buffer.slice(sent - base, cut - base);
      sent = cut;
    }
    return out;
  };
  /** Forgets what is sent and nothing can look back at; seldom, since appending is cheaper than cutting. */
  const trim = (): void => {
    const keep = Math.max(base, Math.min(sent, keepStart()) - context);
    buffer = buffer.slice(keep - base);
    base = keep;
  };
  const pendingStart = (): number => {
    let from = holdStart();
    if (high >= 0) from = Math.min(from, read - 1);
    if (escapedHigh >= 0) from = Math.min(from, escapedHighStart);
    if (escapeStart >= 0) from = Math.min(from, escapeStart);
    return from;
  };

  return {
    push(text) {
      if (ended || text === '') return '';
      buffer += text;
      held = held === '' ? text : held + text;
      let alive = true;
      for (let i = 0; i < text.length && alive; i++) {
        const unit = text.charCodeAt(i);
        if (json) alive = feedJson(unit, read);
        else if (high < 0 && (unit & 0xf800) !== 0xd800) alive = feed(unit, read, read + 1);
        else alive = feedUnit(unit, read, read + 1);
        read++;
      }
      return emit(alive ? pendingStart() : endLimit);
    },
    end() {
      if (ended) return '';
      const alive = settleSurrogates(read) && finishText();
      return emit(alive ? read : endLimit);
    },
    release() {
      if (ended) return '';
      matchAtEnd(); // what only waits for a boundary to be a match counts as one here
      if (ending) {
        goesOn();
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
      removals = removals.slice(-256);
      return removals.some((removal) => removal.from < to && from < removal.to);
    },
  };
}

/** The characters that a piece of a JSON string stands for; leaves what is not a valid escape. */
function decodeEscapes(raw: string): string {
  if (!raw.includes('\\')) return raw;
  return raw.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (whole, code: string | undefined, simple: string | undefined) => {
    if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
    const known = simpleCode(simple);
    return known === undefined ? whole.slice(1) : String.fromCharCode(known);
  });
}
const simpleCode = (char: string | undefined) => (char === undefined ? undefined : simpleEscapes[char]);
