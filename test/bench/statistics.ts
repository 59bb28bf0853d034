/** The middle of some numbers, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

/** Objects of the same numbers become one of their medians. */
export function medians<K extends string>(rounds: readonly Record<K, number>[]): Record<K, number> {
  const [first] = rounds;
  const names = Object.keys(first ?? {}) as K[];
  const entries = names.map((name) => [name, median(rounds.map((round) => round[name]))]);
  return Object.fromEntries(entries) as Record<K, number>;
}
