import type { SigningKey } from '../../sidecar/contract/files.ts';
import type { Algorithm } from '../../sidecar/contract/jwk.ts';
import {
  type AgentNamespaces,
  distributedEverywhere,
  isExposed,
  mintsUntil,
  withNamespaces,
  withoutHarmless,
} from './agents.ts';
import {
  activeKey,
  committedKey,
  isSigning,
  isSpare,
  type Keyring,
  type KeyringKey,
  mapKeys,
  type SigningKeyringKey,
  signerOf,
  spareKeys,
  successorOf,
  without,
} from './keyring.ts';
import {
  acceptedForMs,
  isImporting,
  type KeyPolicy,
  knownFrom,
  longestTTLMs,
  maxPublishedKeys,
  postponementMs,
  ripeningMs,
  signUntilOf,
  spareCount,
  switchAt,
} from './policy.ts';
import { withLaterSafety, withoutOldRevocations, withRevocations, withRevoked } from './revocation.ts';
import {
  abbreviated,
  isMissingSomewhere,
  isServedByAll,
  isServedByPods,
  type ServerObservation,
  servedSets,
  strangers,
} from './servers.ts';

/** What the life of a key is decided from. `now` in milliseconds since the Unix epoch. */
export interface Circumstances {
  policy: KeyPolicy;
  servers: ServerObservation;
  agents: AgentNamespaces;
  /** The private keys that the agent Secret in the issuer's own namespace was seen to hold. */
  distributed: readonly SigningKey[];
  now: number;
}

/** Why a rotation that is due does not happen yet. */
type HeldUpReason =
  | 'WaitingForServers'
  | 'WaitingForExternalURL'
  | 'WaitingForVerifiers'
  | 'WaitingForSidecars'
  | 'UnknownKeyServed'
  | 'ClocksDiffer'
  | 'TooManyKeys';

/** Where the rotation stands. */
export type RotationState =
  | { reason: 'NotDue' }
  | { reason: 'ImportUnderWay' }
  | { reason: 'SwitchCommitted'; at: number; kid: string }
  | { reason: HeldUpReason; problem: string };

/** When the active key is due to be replaced: a longer interval counts from the next key. */
export const dueAt = (key: SigningKeyringKey, policy: KeyPolicy): number =>
  Math.min(key.activateAt + policy.intervalMs, key.signUntil - policy.graceMs);

/** From when every verifier has had time to fetch a key; never while no server was seen to serve it. */
export const ripeAt = (key: KeyringKey, policy: KeyPolicy): number =>
  key.servedSince === undefined ? Number.POSITIVE_INFINITY : key.servedSince + ripeningMs(policy);

/** When the last token that a key may have signed is refused for its age by every verifier. */
const lastTokenGoneAt = (key: SigningKeyringKey, policy: KeyPolicy): number =>
  key.signUntil + acceptedForMs(key.maxTTLMs, policy);

/**
 * From when revoking a retired key refuses no token of a sidecar that follows; undefined before the files of a later key
 * arrived.
 */
export function safeToRevokeAt(keyring: Keyring, key: KeyringKey, policy: KeyPolicy): number | undefined {
  const later = keyring.keys.filter(({ activateAt = 0 }) => activateAt > (key.activateAt ?? Infinity));
  const activateAt = successorOf(keyring, key)?.activateAt;
  const distributedAt = Math.min(...later.map((one) => one.distributedAt ?? Infinity));
  if (activateAt === undefined || distributedAt === Infinity) return undefined;
  const followed = Math.max(activateAt, distributedAt) + policy.propagationMs;
  return followed + acceptedForMs(key.maxTTLMs ?? longestTTLMs, policy);
}

/**
 * Until when namespaces that are not selected any more, but know some keys, can mint what a healthy verifier accepts;
 * undefined while one of the keys is still to be replaced.
 */
export const canMintUntil = (
  keyring: Keyring,
  keyIDs: readonly string[],
  policy: KeyPolicy,
): number | undefined => mintsUntil(keyring, keyIDs, policy, (key) => safeToRevokeAt(keyring, key, policy));

const isRotationAsked = (
  keyring: Keyring,
  active: SigningKeyringKey,
  circumstances: Circumstances,
): boolean => {
  const { policy, now } = circumstances;
  if (isImporting(policy)) return false;
  return (
    now >= dueAt(active, policy) ||
    active.algorithm !== policy.algorithm ||
    isExposed(keyring, active.kid) ||
    (policy.rotateNow !== '' && policy.rotateNow !== keyring.handledRotateNow)
  );
};

const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`;

// Neither commits nor withdrawals while something is wrong with what is served or with the clocks.
function halt(
  keyring: Keyring,
  { servers, policy }: Circumstances,
): { reason: HeldUpReason; problem: string } | undefined {
  const unknown = strangers(servedSets(servers).flat(), keyring);
  if (unknown.length > 0) {
    const isOfPods = servers.answers.flat().some((kid) => unknown.includes(kid));
    const who = isOfPods ? 'a server' : 'spec.server.externalURL';
    return {
      reason: 'UnknownKeyServed',
      problem: `${who} serves keys that the keyring never had (${abbreviated(unknown)})`,
    };
  }
  if (servers.clockDifferenceMs > policy.clockSkewMs) {
    return {
      reason: 'ClocksDiffer',
      problem: `a server's clock and the operator's differ by more than clockSkew (${seconds(policy.clockSkewMs)}): set the clocks right`,
    };
  }
  return undefined;
}

// In an emergency a key that verifiers know counts for more than its algorithm; the rotation to that follows.
function ripestSpare(keyring: Keyring, policy: KeyPolicy, now: number): KeyringKey | undefined {
  const next = nextKey(keyring, policy);
  if (next && ripeAt(next, policy) <= now) return next;
  const [ripest] = spareKeys(keyring).toSorted((a, b) => ripeAt(a, policy) - ripeAt(b, policy));
  return ripest && ripeAt(ripest, policy) <= now ? ripest : (next ?? ripest);
}

/** The spare that takes over next: of the right algorithm, the one that verifiers have known for longest. */
function nextKey(keyring: Keyring, policy: KeyPolicy): KeyringKey | undefined {
  const spares = spareKeys(keyring).filter(({ algorithm }) => algorithm === policy.algorithm);
  return spares.toSorted((a, b) => ripeAt(a, policy) - ripeAt(b, policy) || a.createdAt - b.createdAt)[0];
}

function gate(
  keyring: Keyring,
  next: KeyringKey | undefined,
  circumstances: Circumstances,
): { reason: HeldUpReason; problem: string } | undefined {
  const { servers, policy, now } = circumstances;
  const halted = halt(keyring, circumstances);
  if (halted) return halted;
  if (keyring.keys.length >= maxPublishedKeys) {
    return {
      reason: 'TooManyKeys',
      problem: `${maxPublishedKeys} keys are published: the next rotation waits until old ones leave`,
    };
  }
  if (servers.answers.length === 0)
    return { reason: 'WaitingForServers', problem: 'no ready server pod was seen to serve the next key' };
  if (servers.silent > 0) return { reason: 'WaitingForServers', problem: 'a ready server pod gives no JWKS' };
  if (!next || !isServedByPods(servers, next.kid)) {
    return { reason: 'WaitingForServers', problem: 'a ready server pod does not serve the next key yet' };
  }
  if (!isServedByAll(servers, next.kid)) {
    return {
      reason: 'WaitingForExternalURL',
      problem: 'the set at spec.server.externalURL lacks the next key: a cache before the servers is older',
    };
  }
  if (now < ripeAt(next, policy)) {
    const at = new Date(ripeAt(next, policy)).toISOString();
    return {
      reason: 'WaitingForVerifiers',
      problem: `verifiers may not have fetched the next key before ${at}`,
    };
  }
  return undefined;
}

/** Where the rotation of a keyring stands after {@link evolve}. */
export function rotationState(keyring: Keyring, circumstances: Circumstances): RotationState {
  const { policy, now } = circumstances;
  const committed = committedKey(keyring, now);
  if (committed) return { reason: 'SwitchCommitted', at: committed.activateAt, kid: committed.kid };
  if (isImporting(policy)) return halt(keyring, circumstances) ?? { reason: 'ImportUnderWay' };
  const active = signerOf(keyring, now);
  if (!isRotationAsked(keyring, active, circumstances)) {
    return halt(keyring, circumstances) ?? { reason: 'NotDue' };
  }
  const at = new Date(active.activateAt + policy.clockSkewMs).toISOString();
  const problem = `sidecars may not have followed the last switch before ${at}`;
  return gate(keyring, nextKey(keyring, policy), circumstances) ?? { reason: 'WaitingForSidecars', problem };
}

type FreshKey = Pick<KeyringKey, 'kid' | 'publicKey'> & { privateKey: NonNullable<KeyringKey['privateKey']> };

/**
 * One step of a keyring's life, with new keys of `policy.algorithm` to use; too few, and it says how many more.
 * Evolving the result again at the same instant changes nothing.
 */
export function evolve(
  start: Keyring,
  circumstances: Circumstances,
  newKeys: readonly FreshKey[],
): Keyring | { missing: number } {
  const { now } = circumstances;
  const supply: Supply = { keys: [...newKeys], missing: 0 };
  const steps: ((keyring: Keyring) => Keyring)[] = [
    (keyring) => withNamespaces(keyring, circumstances),
    (keyring) => withRevocations(keyring, circumstances),
    (keyring) => withLaterSafety(keyring, circumstances),
    (keyring) => withServedTimes(keyring, circumstances),
    (keyring) => withAcceptedTimes(keyring, circumstances),
    (keyring) => withDistributedTimes(keyring, circumstances),
    (keyring) => withRetirements(keyring, circumstances),
    (keyring) => withRemovals(keyring, circumstances),
    (keyring) => withoutExposed(keyring, circumstances),
    (keyring) => withoutHarmless(keyring, now),
    (keyring) => withoutOldRevocations(keyring, circumstances),
    (keyring) => withSpares(keyring, circumstances, supply),
    (keyring) => (hasSigner(keyring, start, now) ? keyring : withPromotion(keyring, circumstances)),
    (keyring) => withCommit(keyring, circumstances),
    (keyring) => withSpares(keyring, circumstances, supply),
    (keyring) => withoutOldSpares(keyring, circumstances),
    (keyring) => withHeldUpSignature(keyring, circumstances),
    (keyring) => withRecordedTTL(keyring, circumstances),
  ];
  const evolved = steps.reduce((keyring, step) => step(keyring), start);
  return supply.missing > 0 ? { missing: supply.missing } : evolved;
}

interface Supply {
  keys: FreshKey[];
  missing: number;
}

// Verifiers that lack the key that signs are waited for as those that lack the next one are.
const isAwaited = (key: KeyringKey, now: number): boolean =>
  key.activateAt === undefined ||
  (key.acceptedFrom !== undefined && (key.servedSince === undefined || now < key.acceptedFrom));

function withServedTimes(keyring: Keyring, { servers, now }: Circumstances): Keyring {
  return mapKeys(keyring, (key) => {
    if (!isAwaited(key, now)) return key;
    if (isMissingSomewhere(servers, key.kid)) {
      const { servedSince: _, ...unseen } = key;
      return unseen;
    }
    if (key.servedSince !== undefined || servers.silent > 0 || !isServedByAll(servers, key.kid)) return key;
    return { ...key, servedSince: now };
  });
}

// What status promises of a key that had to sign too early follows what servers serve and what verifiers keep.
function withAcceptedTimes(keyring: Keyring, { policy, now }: Circumstances): Keyring {
  return mapKeys(keyring, (key) => {
    if (key.acceptedFrom === undefined || !isAwaited(key, now)) return key;
    if (key.servedSince !== undefined) return { ...key, acceptedFrom: ripeAt(key, policy) };
    const earliest = now + ripeningMs(policy);
    if (key.acceptedFrom > earliest) return key;
    return { ...key, acceptedFrom: earliest + postponementMs(now - (key.activateAt ?? now)) };
  });
}

// Only a switch has a predecessor whose last signature depends on when the files arrived.
function withDistributedTimes(keyring: Keyring, { distributed, agents, now }: Circumstances): Keyring {
  const distributedKeyIDs = distributedEverywhere(keyring, distributed, agents);
  const first = keyring.keys.filter(({ activateAt }) => activateAt !== undefined);
  const earliest = Math.min(...first.map(({ activateAt }) => activateAt as number));
  return mapKeys(keyring, (key) =>
    isSigning(key) &&
    key.activateAt > earliest &&
    key.distributedAt === undefined &&
    distributedKeyIDs.includes(key.kid)
      ? { ...key, distributedAt: now }
      : key,
  );
}

function withRetirements(keyring: Keyring, { policy, now }: Circumstances): Keyring {
  const active = activeKey(keyring, now);
  if (!active || now < active.activateAt + policy.clockSkewMs) return keyring;
  const { rotateNow: handledRotateNow = keyring.handledRotateNow } = active;
  return mapKeys({ ...keyring, handledRotateNow }, (key) => {
    if (key.kid === active.kid) {
      const { rotateNow: _, ...settled } = key;
      return settled;
    }
    if (!isSigning(key) || key.activateAt >= active.activateAt) return key;
    const { privateKey: _, ...retired } = key;
    return { ...retired, removeAt: Math.max(key.removeAt ?? 0, lastTokenGoneAt(key, policy)) };
  });
}

// The key that the service signs with from which a migration is under way.
const neededByOldService = ({ importedKeyID }: Keyring, policy: KeyPolicy): string | undefined =>
  isImporting(policy) ? importedKeyID : undefined;

function withRemovals(keyring: Keyring, circumstances: Circumstances): Keyring {
  // Nobody who could tell that our clock is wrong: a key that leaves late does no harm.
  if (circumstances.servers.answers.length === 0 || halt(keyring, circumstances)) return keyring;
  const kept = neededByOldService(keyring, circumstances.policy);
  return without(
    keyring,
    ({ kid, removeAt = Number.POSITIVE_INFINITY }) => kid !== kept && removeAt <= circumstances.now,
  );
}

// What a deselected namespace knows is revoked as soon as no sidecar elsewhere needs it.
function withoutExposed(keyring: Keyring, circumstances: Circumstances): Keyring {
  const { policy, now } = circumstances;
  if (keyring.deselected.length === 0 || halt(keyring, circumstances)) return keyring;
  const kept = neededByOldService(keyring, policy);
  const isOver = (key: KeyringKey) =>
    key.kid !== kept &&
    isExposed(keyring, key.kid) &&
    (safeToRevokeAt(keyring, key, policy) ?? Number.POSITIVE_INFINITY) <= now;
  return withRevoked(keyring, isOver, circumstances);
}

// Spares of the old algorithm stay until a key of the new one is committed.
function withoutOldSpares(keyring: Keyring, { policy, now }: Circumstances): Keyring {
  const inCharge = committedKey(keyring, now) ?? signerOf(keyring, now);
  if (inCharge.algorithm !== policy.algorithm) return keyring;
  return without(keyring, (key) => isSpare(key) && key.algorithm !== policy.algorithm);
}

function withSpares(keyring: Keyring, { policy, now }: Circumstances, supply: Supply): Keyring {
  const spares = spareKeys(keyring).filter(({ algorithm }) => algorithm === policy.algorithm).length;
  const room = activeKey(keyring, now) ? maxPublishedKeys - keyring.keys.length : spareCount;
  const missing = Math.max(0, Math.min(room, spareCount - spares));
  const added = Array.from({ length: missing }, () => takeKey(supply, policy.algorithm, now));
  return { ...keyring, keys: [...keyring.keys, ...added] };
}

// With too few keys the steps go on with keys that nobody has, so that one run counts all that is missing.
function takeKey(supply: Supply, algorithm: Algorithm, now: number): KeyringKey {
  const key = supply.keys.shift();
  if (!key) supply.missing += 1;
  return { ...(key ?? { ...noKey, kid: `missing-${supply.missing}` }), algorithm, createdAt: now };
}

const noKey = {
  publicKey: { kty: 'EC', crv: 'P-256', x: '', y: '', kid: '', alg: 'ES256', use: 'sig' },
  privateKey: { kty: 'EC', crv: 'P-256', x: '', y: '', d: '' },
} as const;

// A key that was revoked right after its switch leaves its predecessor behind, which must not take over again.
function hasSigner(keyring: Keyring, start: Keyring, now: number): boolean {
  const before = activeKey(start, now);
  const signerLeft = before === undefined || keyring.keys.some(({ kid }) => kid === before.kid);
  // A leader whose clock is behind may find that the first key's time is still to come: it signs all the same.
  return signerLeft && activeKey(keyring, now) !== undefined;
}

// Files that say a later end may be out already: neither the end nor the longest lifetime ever goes back.
const activated = (key: KeyringKey, at: number, policy: KeyPolicy): KeyringKey => ({
  ...key,
  activateAt: at,
  signUntil: Math.max(key.signUntil ?? 0, signUntilOf(at, policy)),
  maxTTLMs: Math.max(key.maxTTLMs ?? 0, policy.maxTTLMs),
});

// The committed key takes over now, else the ripest spare: at the very first, and when the signing key was revoked.
function withPromotion(keyring: Keyring, { policy, now }: Circumstances): Keyring {
  const isFirst = keyring.removedKeyIDs.length === 0 && keyring.keys.every(({ privateKey }) => privateKey);
  const committed = keyring.keys.filter(isSigning).find(({ activateAt }) => activateAt > now);
  const next = committed ?? ripestSpare(keyring, policy, now);
  if (!next) return keyring;
  // A key that nobody was seen to serve has to reach the servers first.
  const knownAt = next.servedSince === undefined ? knownFrom(now, policy) : ripeAt(next, policy);
  const acceptedFrom = !isFirst && knownAt > now ? { acceptedFrom: knownAt } : {};
  return mapKeys(keyring, (key) =>
    key.kid === next.kid ? { ...activated(key, now, policy), ...acceptedFrom } : key,
  );
}

function withCommit(keyring: Keyring, circumstances: Circumstances): Keyring {
  const { policy, now } = circumstances;
  const active = signerOf(keyring, now);
  if (committedKey(keyring, now)) return keyring;
  if (!isRotationAsked(keyring, active, circumstances)) return keyring;
  // Not before every sidecar can follow the switch before.
  if (now < active.activateAt + policy.clockSkewMs) return keyring;
  const next = nextKey(keyring, policy);
  if (!next || gate(keyring, next, circumstances)) return keyring;
  const at = switchAt(now, policy);
  // What was asked for is handled once the switch is over: a key that is revoked before takes no request with it.
  const { rotateNow } = policy;
  return mapKeys(keyring, (key) =>
    key.kid === next.kid ? { ...activated(key, at, policy), rotateNow } : key,
  );
}

// Only when a rotation is held up, or nobody was here to do it: an end that comes near is put off.
function withHeldUpSignature(keyring: Keyring, { policy, now }: Circumstances): Keyring {
  const active = signerOf(keyring, now);
  if (active.signUntil - now > policy.graceMs / 2) return keyring;
  const committed = committedKey(keyring, now);
  if (committed && committed.activateAt + policy.clockSkewMs <= active.signUntil) return keyring;
  const signUntil = now + policy.graceMs;
  return mapKeys(keyring, (key) => (key.kid === active.kid ? { ...key, signUntil } : key));
}

// A longer ttl.max is recorded before it is distributed; a shorter one takes nothing back from tokens in flight.
function withRecordedTTL(keyring: Keyring, { policy }: Circumstances): Keyring {
  return mapKeys(keyring, (key) => {
    if (!isSigning(key)) return key;
    // The old service signs with it as well, as long as its own limit allows.
    const ofOthers = key.kid === keyring.importedKeyID ? (policy.importMaxTTLMs ?? 0) : 0;
    return { ...key, maxTTLMs: Math.max(key.maxTTLMs, policy.maxTTLMs, ofOthers) };
  });
}
