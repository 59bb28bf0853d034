/** When a key may sign; instants in milliseconds since the epoch, infinite where there is no limit. */
export interface Validity {
  activateAt: number;
  signUntil: number;
  warnFrom: number;
}

/** The key in charge, and whether it may still sign: `warn` means that its end comes near. */
export interface SignerChoice<K> {
  key: K;
  state: 'good' | 'warn' | 'ended';
}

/**
 * Which key is in charge at an instant: the newest whose `activateAt` has passed, else the one with the
 * earliest. At or past its `signUntil` it is `ended`, and no other takes its place: an older key may be
 * withdrawn by then, a newer one unknown to verifiers.
 *
 * @param keys at least one; of two with the same `activateAt`, the greater `kid` counts as newer.
 * @param now milliseconds since the epoch.
 */
export function signerAt<K extends Validity & { kid: string }>(
  keys: readonly [K, ...K[]],
  now: number,
): SignerChoice<K> {
  const byAge = keys.toSorted((a, b) => (isNewer(a, b) ? 1 : -1));
  const key = byAge.findLast((candidate) => candidate.activateAt <= now) ?? byAge[0] ?? keys[0];
  if (now >= key.signUntil) return { key, state: 'ended' };
  return { key, state: now >= key.warnFrom ? 'warn' : 'good' };
}

function isNewer(a: Validity & { kid: string }, b: Validity & { kid: string }): boolean {
  return a.activateAt === b.activateAt ? a.kid > b.kid : a.activateAt > b.activateAt;
}
