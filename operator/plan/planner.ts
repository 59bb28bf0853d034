import type { SigningKey } from '../../sidecar/contract/files.ts';
import { type Algorithm, type PublicJWK, publicHalf } from '../../sidecar/contract/jwk.ts';
import {
  activeKey,
  type Keyring,
  type KeyringKey,
  type NewKey,
  publicKeys,
  spareKeys,
  uniteByKid,
} from './keyring.ts';

/** What of an issuer's spec decides about its keys; times in milliseconds. */
export interface KeyPolicy {
  algorithm: Algorithm;
  maxTTLMs: number;
  graceMs: number;
  rotateNow: string;
}

/** The keyring Secret as a live read found it. */
export type ObservedKeyring =
  | { state: 'absent' }
  | { state: 'unreadable'; problem: string }
  | { state: 'present'; keyring: Keyring };

/** What else still tells of the keys: gathered before the keyring is read, so that it never tells of a newer one. */
export interface Traces {
  /** The highest revision that status or a derived object names; 0 where none does. */
  revision: number;
  /** The kids in status. */
  statusKeyIDs: string[];
  /** The latest `signUntilTime` or `removalTime` in status, in milliseconds since the Unix epoch; 0 where there is none. */
  statusSignUntil: number;
  /** `status.handledRotateNow`, undefined before the first status. */
  handledRotateNow: string | undefined;
  /** The public keys in the JWKS ConfigMap and the agent Secret, those of strangers aside. */
  published: PublicJWK[];
  /** The private keys in the agent Secret. */
  distributed: SigningKey[];
}

/** Everything that {@link plan} decides from. `now` in milliseconds since the Unix epoch. */
export interface PlanInput {
  policy: KeyPolicy;
  observed: ObservedKeyring;
  traces: Traces;
  now: number;
  /** Fresh keys to use, in order. With too few the answer is `needKeys`. */
  newKeys: readonly NewKey[];
}

/** Why the keyring stays as it is although something is wrong. */
type HoldReason = 'KeyringLost' | 'KeyringStale' | 'KeyringUnreadable';

/** What became of the keyring, for an Event. */
export type KeyringChange =
  | 'KeyringCreated'
  | 'KeyringRebuilt'
  | 'KeyringReplaced'
  | 'KeyringMerged'
  | 'KeyringUpdated';

/** What to do about the keyring. */
export type Plan =
  /** Call again with this many new keys of this algorithm. */
  | { action: 'needKeys'; algorithm: Algorithm; count: number }
  /** Write nothing; go on publishing `publish` (undefined: whatever is published now). */
  | { action: 'hold'; reason: HoldReason; problem: string; publish?: PublicJWK[] }
  /** Persist `keyring` first, then derive everything from it. */
  | { action: 'write'; change: KeyringChange; keyring: Keyring; wakeAt: number }
  /** The keyring is as it should be. */
  | { action: 'keep'; keyring: Keyring; wakeAt: number };

/** Unused keys that are published at all times: the next one, and one behind it. */
export const spareCount = 2;

// A verifier accepts a token for this long after its `exp` (60 s leeway), by a clock that may be off by as much.
const verifierToleranceMs = 120_000;
// The CRD's upper bound of ttl.max, for keys of which nothing else is known.
const longestTTLMs = 86_400_000;

/**
 * Decides about an issuer's keyring, from what was observed and nothing else.
 *
 * A keyring is created only where nothing tells of an earlier one, rebuilt from what the agent Secret holds, and
 * otherwise waits for consent. A keyring that is there gets what it lacks: an active key, {@link spareCount} spares,
 * a `signUntil` at least half of `grace` away.
 */
export function plan(input: PlanInput): Plan {
  const { observed, traces, policy } = input;
  if (observed.state === 'unreadable') {
    return { action: 'hold', reason: 'KeyringUnreadable', problem: observed.problem, ...asTold(traces) };
  }
  if (observed.state === 'absent') {
    if (nothingTellsOfKeys(traces)) return evolve(input, emptyKeyring(input), 'KeyringCreated');
    if (traces.distributed.length > 0) return evolve(input, rebuilt(input), 'KeyringRebuilt');
    if (consentGiven(policy, traces)) return evolve(input, rebuilt(input), 'KeyringReplaced');
    return {
      action: 'hold',
      reason: 'KeyringLost',
      problem: 'the keyring Secret is gone, and no agent Secret holds a signing key from which to rebuild it',
      ...asTold(traces),
    };
  }
  const { keyring } = observed;
  const stale = staleness(keyring, traces);
  if (stale === undefined) return evolve(input, keyring, undefined);
  if (consentGiven(policy, traces)) return evolve(input, merged(input, keyring), 'KeyringMerged');
  return { action: 'hold', reason: 'KeyringStale', problem: stale, publish: union(keyring, traces) };
}

// Whatever is held up, what is known to be published goes on being published.
const asTold = ({ published }: Traces): { publish?: PublicJWK[] } =>
  published.length > 0 ? { publish: published } : {};

/** Whether nothing tells that there ever was a keyring. */
export const nothingTellsOfKeys = (traces: Traces): boolean =>
  traces.revision === 0 &&
  traces.statusKeyIDs.length === 0 &&
  traces.published.length === 0 &&
  traces.distributed.length === 0;

// Only a value that came after status was first written is consent: one that was in the manifest from the start is not.
const consentGiven = (policy: KeyPolicy, traces: Traces): boolean =>
  traces.handledRotateNow !== undefined &&
  policy.rotateNow !== '' &&
  policy.rotateNow !== traces.handledRotateNow;

/** Why a keyring must be an older copy or another one, or undefined when it is current. */
function staleness(keyring: Keyring, traces: Traces): string | undefined {
  if (keyring.revision < traces.revision) {
    return `the keyring Secret has revision ${keyring.revision}, but revision ${traces.revision} was in use: it is an older copy`;
  }
  const known = new Set([...keyring.keys.map((key) => key.kid), ...keyring.removedKeyIDs]);
  const unknown = traces.statusKeyIDs.filter((kid) => !known.has(kid));
  if (unknown.length > 0) {
    return `the keyring Secret lacks keys that were in use (${unknown.join(', ')}): it is another keyring or an older copy`;
  }
  return undefined;
}

const union = (keyring: Keyring, traces: Traces): PublicJWK[] =>
  uniteByKid(publicKeys(keyring), traces.published, traces.distributed.map(publicKeyOf));

const publicKeyOf = (key: SigningKey): PublicJWK => ({
  ...publicHalf(key.privateKey),
  kid: key.kid,
  alg: key.alg,
  use: 'sig',
});

const emptyKeyring = ({ policy, traces }: PlanInput): Keyring => ({
  revision: traces.revision,
  keys: [],
  removedKeyIDs: [],
  handledRotateNow: policy.rotateNow,
});

// What the agent Secret holds signs on; what is only published stays published until no token of it can be alive.
function rebuilt(input: PlanInput): Keyring {
  const { traces } = input;
  const published = traces.published.map((key) => publishedKey(key, input));
  const keys = uniteByKid(traces.distributed.map(heldKey), published);
  return { ...emptyKeyring(input), keys, removedKeyIDs: lostFrom(traces, keys) };
}

function merged(input: PlanInput, keyring: Keyring): Keyring {
  const { traces, policy } = input;
  const others = rebuilt(input).keys;
  const copies = keyring.keys.map((key) => notEarlier(key, others));
  const keys = uniteByKid(copies, others);
  return {
    revision: Math.max(keyring.revision, traces.revision),
    keys,
    removedKeyIDs: [...new Set([...keyring.removedKeyIDs, ...lostFrom(traces, keys)])],
    handledRotateNow: policy.rotateNow,
  };
}

// What status still names, and nothing holds: without it in the list of the known, the new keyring would look stale.
const lostFrom = ({ statusKeyIDs }: Traces, keys: readonly KeyringKey[]): string[] =>
  statusKeyIDs.filter((kid) => keys.every((key) => key.kid !== kid));

// An older copy of a key must not take back what sidecars were already told.
function notEarlier(key: KeyringKey, others: KeyringKey[]): KeyringKey {
  const other = others.find(({ kid }) => kid === key.kid);
  if (!other) return key;
  if (other.activateAt === undefined) {
    return key.removeAt === undefined
      ? key
      : { ...key, removeAt: Math.max(key.removeAt, other.removeAt ?? 0) };
  }
  const { removeAt: _, ...signing } = key;
  return {
    ...signing,
    ...other,
    createdAt: key.createdAt,
    signUntil: Math.max(key.signUntil ?? 0, other.signUntil as number),
    maxTTLMs: Math.max(key.maxTTLMs ?? 0, other.maxTTLMs as number),
  };
}

const heldKey = (key: SigningKey): KeyringKey => ({
  kid: key.kid,
  algorithm: key.alg,
  publicKey: publicKeyOf(key),
  privateKey: key.privateKey,
  createdAt: Date.parse(key.activateAt),
  activateAt: Date.parse(key.activateAt),
  signUntil: Date.parse(key.signUntil),
  // What it was allowed before today's settings is not known.
  maxTTLMs: longestTTLMs,
});

function publishedKey(key: PublicJWK, { traces, policy, now }: PlanInput): KeyringKey {
  const lastSignature = Math.max(
    now + policy.graceMs,
    traces.statusSignUntil,
    ...traces.distributed.map((held) => Date.parse(held.signUntil)),
  );
  return {
    kid: key.kid,
    algorithm: key.alg,
    publicKey: key,
    createdAt: now,
    removeAt: lastSignature + longestTTLMs + verifierToleranceMs,
  };
}

/** Gives the keyring what it lacks; `change` says that it is new in any case. */
function evolve(input: PlanInput, start: Keyring, change: KeyringChange | undefined): Plan {
  const { policy, now } = input;
  const kept = withoutExpired(start, now);
  // A retained keyring of another algorithm goes on as it is.
  const algorithm = activeKey(kept, now)?.algorithm ?? spareKeys(kept)[0]?.algorithm ?? policy.algorithm;
  const activeCount = activeKey(kept, now) ? 1 : 0;
  const missing = Math.max(0, 1 - activeCount + spareCount - spareKeys(kept).length);
  if (input.newKeys.length < missing) {
    return { action: 'needKeys', algorithm, count: missing };
  }
  const added = input.newKeys
    .slice(0, missing)
    .map((key): KeyringKey => ({ ...key, algorithm, createdAt: now }));
  const filled: Keyring = { ...kept, keys: [...kept.keys, ...added], handledRotateNow: policy.rotateNow };
  const signing = activeCount === 1 ? filled : withFirstActivated(filled, policy, now);
  const active = activeKey(signing, now) as KeyringKey;
  const held = heldUp(active, policy, now);
  const keyring: Keyring = { ...signing, keys: signing.keys.map((key) => (key === active ? held : key)) };
  const wakeAt = Math.min(
    (held.signUntil as number) - policy.graceMs / 2,
    ...keyring.keys.map((key) => key.removeAt ?? Number.POSITIVE_INFINITY),
  );
  const changed = JSON.stringify(keyring) !== JSON.stringify(start);
  if (!changed && change === undefined) return { action: 'keep', keyring: start, wakeAt };
  const revision = start.revision + 1;
  return { action: 'write', change: change ?? 'KeyringUpdated', keyring: { ...keyring, revision }, wakeAt };
}

function withoutExpired(keyring: Keyring, now: number): Keyring {
  const expired = keyring.keys.filter((key) => key.removeAt !== undefined && key.removeAt <= now);
  if (expired.length === 0) return keyring;
  return {
    ...keyring,
    keys: keyring.keys.filter((key) => !expired.includes(key)),
    removedKeyIDs: [...keyring.removedKeyIDs, ...expired.map((key) => key.kid)],
  };
}

// The oldest spare is the one that verifiers have known for longest.
function withFirstActivated(keyring: Keyring, policy: KeyPolicy, now: number): Keyring {
  const first = spareKeys(keyring)[0];
  return {
    ...keyring,
    keys: keyring.keys.map((key) =>
      key === first
        ? { ...key, activateAt: now, signUntil: now + policy.graceMs, maxTTLMs: policy.maxTTLMs }
        : key,
    ),
  };
}

// signUntil only ever moves later, and only when less than half of grace is left.
function heldUp(key: KeyringKey, policy: KeyPolicy, now: number): KeyringKey {
  const signUntil = key.signUntil ?? now;
  const runsOutSoon = signUntil - now <= policy.graceMs / 2;
  return {
    ...key,
    signUntil: runsOutSoon ? Math.max(signUntil, now + policy.graceMs) : signUntil,
    maxTTLMs: Math.max(key.maxTTLMs ?? 0, policy.maxTTLMs),
  };
}
