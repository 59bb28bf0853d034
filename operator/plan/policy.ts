import type { Algorithm } from '../../sidecar/contract/jwk.ts';

/** What of an issuer's spec decides about its keys; times in milliseconds. */
export interface KeyPolicy {
  algorithm: Algorithm;
  maxTTLMs: number;
  intervalMs: number;
  verifierCacheTTLMs: number;
  /** `max-age` of the JWKS. */
  maxAgeMs: number;
  propagationMs: number;
  clockSkewMs: number;
  graceMs: number;
  rotateNow: string;
  revokedKeyIDs: readonly string[];
  /** Set while a migration is under way (`spec.importKey`): the longest lifetime that the old service allowed. */
  importMaxTTLMs?: number;
}

/** A verifier accepts a token for this long after its `exp`. */
export const verifierLeewayMs = 60_000;

/** For how long beyond its cache time a verifier that cannot fetch the JWKS goes on with the keys it has. */
export const verifierStaleGraceMs = 3_600_000;

/** Unused keys that are published at all times: the next one, and one behind it. */
export const spareCount = 2;

/** Keys that are published at most. */
export const maxPublishedKeys = 64;

/** Kids of removed keys that are remembered, the newest: a Secret holds a MiB. */
export const maxRemovedKeyIDs = 2_000;

/** Revoked keys that are remembered, the newest, and all that the spec names: status lists each. */
export const maxRevoked = 500;

/** The longest `ttl.max` that the CRD admits, for keys of which nothing else is known. */
export const longestTTLMs = 86_400_000;

/** Whether a migration is under way: the old service signs with the same key, and knows of no other. */
export const isImporting = (policy: KeyPolicy): boolean => policy.importMaxTTLMs !== undefined;

/** The time after which every verifier has fetched a JWKS that is served now. */
export const ripeningMs = (policy: KeyPolicy): number =>
  policy.verifierCacheTTLMs + policy.maxAgeMs + policy.clockSkewMs;

/**
 * By how much more a time that is overtaken again and again is put off: the longer it has lasted (milliseconds), the
 * more, so that not each look at the servers is a write.
 */
export const postponementMs = (lasted: number): number => Math.max(30_000, Math.ceil(lasted / 10));

/** When every sidecar can have switched to a key that is committed at `now`: its files have come, by any clock. */
export const switchAt = (now: number, policy: KeyPolicy): number =>
  now + policy.propagationMs + policy.clockSkewMs;

/** The end of a key that signs from `activateAt` on. */
export const signUntilOf = (activateAt: number, policy: KeyPolicy): number =>
  activateAt + policy.intervalMs + policy.graceMs;

/** From when every verifier knows a key that no server was seen to serve at `now`. */
export const knownFrom = (now: number, policy: KeyPolicy): number =>
  now + policy.propagationMs + ripeningMs(policy);

/** How long after its signature a token with this lifetime may be accepted, by any clock. */
export const acceptedForMs = (maxTTLMs: number, policy: KeyPolicy): number =>
  maxTTLMs + verifierLeewayMs + policy.clockSkewMs;
