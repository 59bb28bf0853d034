import type { Algorithm } from '../../sidecar/contract/jwk.ts';
import { type Keyring, type KeyringKey, type RevokedKey, uniteByKid, without } from './keyring.ts';
import {
  type KeyPolicy,
  maxRemovedKeyIDs,
  maxRevoked,
  postponementMs,
  verifierStaleGraceMs,
} from './policy.ts';
import { isServedSomewhere, type ServerObservation } from './servers.ts';

/** How long a verifier goes on accepting a key that it fetched just before it was withdrawn. */
export const untilRefusedMs = (policy: KeyPolicy): number => policy.verifierCacheTTLMs + policy.maxAgeMs;

/** The record of a key that is revoked at `now`, with the times that verifiers need (milliseconds since the Unix epoch). */
function revocationOf(
  kid: string,
  algorithm: Algorithm,
  { policy, now }: { policy: KeyPolicy; now: number },
): RevokedKey {
  const safeAt = now + policy.propagationMs + untilRefusedMs(policy);
  return { kid, algorithm, revokedAt: now, safeAt, safeAtWorst: safeAt + verifierStaleGraceMs };
}

/** The keyring without the keys that `spec.rotation.revokedKeyIDs` names, or that ever were revoked. It waits for nothing. */
export function withRevocations(keyring: Keyring, when: { policy: KeyPolicy; now: number }): Keyring {
  const asked = when.policy.revokedKeyIDs.filter((kid) => keyring.revoked.every((key) => key.kid !== kid));
  const records = asked.flatMap((kid) => {
    const key = keyring.keys.find((candidate) => candidate.kid === kid);
    if (key) return [revocationOf(kid, key.algorithm, when)];
    // One that left long ago may be in an older copy of the keyring still.
    return keyring.removedKeyIDs.includes(kid) ? [revocationOf(kid, when.policy.algorithm, when)] : [];
  });
  const gone = new Set([...records, ...keyring.revoked].map(({ kid }) => kid));
  const left = without(keyring, ({ kid }) => gone.has(kid));
  return { ...left, revoked: [...keyring.revoked, ...records] };
}

/** The keyring without some of its keys, which are revoked. */
export function withRevoked(
  keyring: Keyring,
  isRevoked: (key: KeyringKey) => boolean,
  when: { policy: KeyPolicy; now: number },
): Keyring {
  const records = keyring.keys.filter(isRevoked).map((key) => revocationOf(key.kid, key.algorithm, when));
  if (records.length === 0) return keyring;
  return { ...without(keyring, isRevoked), revoked: [...keyring.revoked, ...records] };
}

/**
 * The keyring without the oldest revocations, where there are many: each deselected namespace may add one, and a Secret
 * and status hold only so much. One that the spec names, or that a verifier may not know of yet, stays.
 */
export function withoutOldRevocations(
  keyring: Keyring,
  { policy, now }: { policy: KeyPolicy; now: number },
): Keyring {
  const { revoked } = keyring;
  const excess = revoked.length - maxRevoked;
  if (excess <= 0) return keyring;
  const old = revoked
    .filter(({ kid, safeAtWorst }) => safeAtWorst <= now && !policy.revokedKeyIDs.includes(kid))
    .toSorted((a, b) => a.revokedAt - b.revokedAt)
    .slice(0, excess);
  const gone = new Set(old.map(({ kid }) => kid));
  // Status may name them still: they stay known.
  const removedKeyIDs = [...new Set([...keyring.removedKeyIDs, ...gone])].slice(-maxRemovedKeyIDs);
  return { ...keyring, removedKeyIDs, revoked: revoked.filter(({ kid }) => !gone.has(kid)) };
}

interface Observed {
  policy: KeyPolicy;
  servers: ServerObservation;
  now: number;
}

/**
 * While a server still gives a revoked key out, verifiers go on taking it up: they refuse it that much later. What a
 * server gives out that does not answer us is not known, and no time that has not passed yet is promised for it.
 */
export const withLaterSafety = (keyring: Keyring, when: Observed): Keyring => ({
  ...keyring,
  revoked: laterSafety(keyring.revoked, when),
});

function laterSafety(revoked: readonly RevokedKey[], { policy, servers, now }: Observed): RevokedKey[] {
  const earliest = now + untilRefusedMs(policy);
  const isLate = ({ kid, safeAt }: RevokedKey) =>
    safeAt <= earliest && (isServedSomewhere(servers, kid) || (servers.silent > 0 && safeAt > now));
  return revoked.map((key) => {
    if (!isLate(key)) return key;
    const safeAt = earliest + postponementMs(now - key.revokedAt);
    return { ...key, safeAt, safeAtWorst: Math.max(key.safeAtWorst, safeAt + verifierStaleGraceMs) };
  });
}

/** The revocations that hold while there is no keyring to keep them: what was known, and what the spec asks for. */
export function revokedMeanwhile(
  known: readonly RevokedKey[],
  keys: readonly { kid: string; algorithm: Algorithm }[],
  when: Observed,
): RevokedKey[] {
  const asked = keys.filter(({ kid }) => when.policy.revokedKeyIDs.includes(kid));
  const records = asked.map(({ kid, algorithm }) => revocationOf(kid, algorithm, when));
  return laterSafety(uniteByKid(known, records), when);
}
