const unitMs: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * Whole milliseconds of a Go duration such as `5m` or `1h30m` (units ms, s, m, h, as the CRD admits).
 *
 * @throws RangeError when the text is no such duration
 */
export function durationMs(text: string): number {
  if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text)) {
    throw new RangeError(`"${text}" is not a duration: write it like 90s, 5m or 1h30m`);
  }
  const parts = text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g);
  const exact = [...parts].reduce(
    (sum, [, amount, unit]) => sum + Number(amount) * (unitMs[unit as string] as number),
    0,
  );
  return Math.round(exact);
}
