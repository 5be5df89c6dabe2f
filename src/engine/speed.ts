/** Measured speed of this model on this machine, learned from every step. */
export interface SpeedMeter {
  /** A step of `decoding` sequences of one token each and `prefill` prompt tokens took `ms`. */
  record(decoding: number, prefill: number, ms: number): void;
  /** Expected milliseconds of a step that decodes `width` sequences. */
  decodeMs(width: number): number;
  prefillMsPerToken(): number;
}

/** Weight of the newest measurement. */
const weight = 0.1;

export function createSpeedMeter(): SpeedMeter {
  const decode = new Map<number, number>();
  let prefill: number | undefined;
  const blend = (old: number | undefined, now: number) => (old === undefined ? now : old + weight * (now - old));

  const decodeMs = (width: number): number => {
    const known = decode.get(width);
    if (known !== undefined) return known;
    // From the nearest known width: a step grows more slowly than its width.
    let nearest: [number, number] | undefined;
    for (const entry of decode) {
      if (!nearest || Math.abs(entry[0] - width) < Math.abs(nearest[0] - width)) nearest = entry;
    }
    return nearest ? nearest[1] * Math.sqrt(Math.max(1, width) / nearest[0]) : 30;
  };

  return {
    record(decoding, prefillTokens, ms) {
      if (prefillTokens === 0) {
        if (decoding > 0) decode.set(decoding, blend(decode.get(decoding), ms));
      } else if (decoding === 0) {
        if (prefillTokens >= 8) prefill = blend(prefill, ms / prefillTokens);
      } else if (prefillTokens >= 8 && decode.has(decoding)) {
        const own = ms - decodeMs(decoding);
        if (own > 0) prefill = blend(prefill, own / prefillTokens);
      }
    },
    decodeMs,
    prefillMsPerToken: () => prefill ?? 4,
  };
}
