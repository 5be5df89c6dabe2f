import type { Rule } from './rules.ts';

/** A part of the source that is not sent; `rule` undefined: dropped without a trace. */
export interface Region {
  readonly start: number;
  readonly end: number;
  readonly rule: Rule | undefined;
  /** The leftmost-longest match, which names the region. */
  readonly matchStart: number;
  readonly matchEnd: number;
  readonly order: number;
  /** Replacements inside JSON strings are escaped; outside they must be a value. */
  readonly place: Place;
}

export type Place = 'text' | 'string' | 'bare';

/** True when `a` names a region that both are in: further left, then longer, then declared first. */
const leftmostLongest = (a: Region, b: Region): boolean =>
  b.rule === undefined || (a.matchStart - b.matchStart || b.matchEnd - a.matchEnd || a.order - b.order) < 0;

/** Adds a region behind the others; those that it overlaps become one with it. */
export function addRegion(regions: Region[], region: Region): void {
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
}
